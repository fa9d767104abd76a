"""Policies by name for a replay: those of the project, and one's own from a module."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from controller.comparison.fleets import FleetPool
from controller.comparison.foreknown import FleetClairvoyant
from controller.comparison.naming import CLAIRVOYANT, STATIC, fixed_of, parsed
from controller.policies import registry
from controller.policy import Policy
from controller.simulator.workload import Workload
from store.errors import ControllerError
from store.nearest import nearest_hint

# The one stream of requests that a fleet serves.
STREAM = "fleet"


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
    for one in wanted:
        name, settings = parsed(one)
        if ":" in name and may_import:
            _own(name)
        elif name == CLAIRVOYANT or (name == STATIC and not settings):
            more = "; static(replicas=5) is a fleet of your own" if name == STATIC else ""
            raise ControllerError(
                f"{name} is always there", hint=f"name others: {', '.join(names())}{more}"
            )
        elif name == STATIC or name in names():
            built(one, {}, None)
        else:
            hint = nearest_hint(name, names(), lists_all=True)
            raise ControllerError(f"there is no policy '{name}'", hint=hint)
    return wanted


def built(
    name: str,
    parameters: Mapping[str, Any],
    workload: Workload | None,
    fleet: Sequence[FleetPool] = (),
) -> Policy:
    """A policy.

    Args:
        name: of the policy, with settings or without.
        parameters: in place of those.
        workload: that is replayed, for those that look ahead.
        fleet: pools that are replayed together, where there are such.

    Raises:
        ControllerError: no such policy, or it has no such parameter.
    """
    base, given = parsed(name)
    settings = {**given, **parameters}
    try:
        if ":" in base:
            return _own(base)(**settings)
        if base == CLAIRVOYANT and fleet and workload is not None:
            return FleetClairvoyant(workload, tuple(fleet), **settings)
        if base == STATIC:
            settings = fixed_of(settings)
        if base == "risk" and sum(pool.role == "whole" for pool in fleet) > 1:
            # Its whole pools share the arrivals; it does not take that for granted.
            settings = {"together": STREAM, **settings}
        ahead = {"workload": workload} if base == CLAIRVOYANT else {}
        return registry.make(base, **settings, **ahead)
    except (TypeError, ValueError) as error:
        raise ControllerError(f"policy {name}: {error}") from error


def defaults(name: str) -> Mapping[str, Any]:
    """The documented settings of a policy, or those that were given; of one's own, the latter."""
    base, given = parsed(name)
    return given if ":" in base else {**registry.defaults(base), **given}


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
