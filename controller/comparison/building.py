"""Policies by name for a replay: those of the project, and one's own from a module."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from controller.policies import registry
from controller.policy import Policy
from controller.simulator.workload import Workload
from store.errors import ControllerError

CLAIRVOYANT, STATIC = "clairvoyant", "static"
OURS = "risk"


def names() -> tuple[str, ...]:
    """Policies that can be asked for by name; the two that are always there are left out."""
    return tuple(name for name in registry.POLICIES if name not in (CLAIRVOYANT, STATIC))


def checked_names(wanted: tuple[str, ...], *, may_import: bool) -> tuple[str, ...]:
    """The names, all of them known.

    Args:
        wanted: names, or "module:factory".
        may_import: whether one's own modules may be loaded.

    Raises:
        ControllerError: one is not; the hint names the nearest.
    """
    for name in wanted:
        if ":" in name and may_import:
            _own(name)
        elif name in (CLAIRVOYANT, STATIC):
            raise ControllerError(
                f"{name} is always there", hint=f"name others: {', '.join(names())}"
            )
        elif name not in names():
            near = difflib.get_close_matches(name, names(), n=1)
            known = f"there are: {', '.join(names())}"
            hint = f"did you mean {near[0]}? {known}" if near else known
            raise ControllerError(f"there is no policy '{name}'", hint=hint)
    return wanted


def built(name: str, parameters: Mapping[str, Any], workload: Workload | None) -> Policy:
    """A policy.

    Args:
        name: of the policy.
        parameters: in place of its own.
        workload: that is replayed, for those that look ahead.

    Raises:
        ControllerError: no such policy, or it has no such parameter.
    """
    if ":" in name:
        try:
            return _own(name)(**parameters)
        except TypeError as error:
            raise ControllerError(f"policy {name}: {error}") from error
    ahead = {"workload": workload} if name == CLAIRVOYANT else {}
    return registry.make(name, **parameters, **ahead)


def defaults(name: str) -> Mapping[str, Any]:
    """The documented settings of a policy; of one's own, nothing is known."""
    return {} if ":" in name else registry.defaults(name)


def _own(name: str) -> Callable[..., Policy]:
    module, _, factory = name.partition(":")
    try:
        found: Callable[..., Policy] = getattr(importlib.import_module(module), factory)
    except (ImportError, AttributeError, ValueError) as error:
        raise ControllerError(
            f"no policy can be loaded from '{name}': {error}",
            hint="write module:factory, with the module on PYTHONPATH",
        ) from error
    return found
