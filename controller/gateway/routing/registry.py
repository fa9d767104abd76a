"""All ways by name, what goes around them, and how one is made.

`make("prefix-affinity", key_blocks=8)` gives a way;
`wrapped(way, {"slow-start": {"seconds": 30}, "sticky": {}})` puts wrappers around it, the first
innermost.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from controller.gateway.routing import held_back, sticky
from controller.gateway.routing.base import Way, WaySpec
from controller.gateway.routing.cache_aware import CacheAware
from controller.gateway.routing.held_back import degradation_aware, slow_start
from controller.gateway.routing.least_outstanding import LeastOutstanding
from controller.gateway.routing.least_tokens import LeastTokens
from controller.gateway.routing.power_of_two import PowerOfTwo
from controller.gateway.routing.predicted_finish import PredictedFinish
from controller.gateway.routing.prefill_decode import PrefillDecode
from controller.gateway.routing.prefix_affinity import PrefixAffinity
from controller.gateway.routing.round_robin import RoundRobin
from controller.gateway.routing.sticky import Sticky
from store.errors import ControllerError

WAYS: dict[str, Callable[..., Way]] = {
    "round-robin": RoundRobin,
    "least-outstanding": LeastOutstanding,
    "least-tokens": LeastTokens,
    "power-of-two": PowerOfTwo,
    "cache-aware": CacheAware,
    "prefix-affinity": PrefixAffinity,
    "predicted-finish": PredictedFinish,
    "prefill-decode": PrefillDecode,
}
WRAPPERS: dict[str, Callable[..., Way]] = {
    "slow-start": slow_start,
    "degradation-aware": degradation_aware,
    "sticky": Sticky,
}
_WRAPPER_SPECS = (held_back.SLOW_START, held_back.DEGRADATION_AWARE, sticky.SPEC)


def make(name: str, /, **parameters: Any) -> Way:
    """A way.

    Args:
        name: one of `WAYS`.
        parameters: knobs by name; those that are not given are as documented.

    Raises:
        ControllerError: no such way, no such parameter, or a value out of range.
    """
    return _made("way", WAYS, name, (), parameters)


def wrapped(way: Way, wrappers: Mapping[str, Mapping[str, Any]]) -> Way:
    """A way with wrappers around it.

    Args:
        way: chooses in the end.
        wrappers: name in `WRAPPERS` -> parameters; the first is innermost.

    Raises:
        ControllerError: as `make`.
    """
    for name, parameters in wrappers.items():
        way = _made("wrapper", WRAPPERS, name, (way,), parameters)
    return way


def catalogue() -> tuple[WaySpec, ...]:
    """The spec of every way, then of every wrapper."""
    return (*(make(name).spec for name in WAYS), *_WRAPPER_SPECS)


def _made(
    what: str,
    among: Mapping[str, Callable[..., Way]],
    name: str,
    given: tuple[Way, ...],
    parameters: Mapping[str, Any],
) -> Way:
    factory = among.get(name)
    if factory is None:
        raise ControllerError(f"there is no {what} '{name}'", hint=_near(name, among))
    allowed = list(inspect.signature(factory).parameters)[len(given) :]
    for one in parameters:
        if one not in allowed:
            shown = f"it has {', '.join(allowed)}" if allowed else "it has none"
            raise ControllerError(f"{what} {name} has no parameter '{one}'", hint=shown)
    try:
        return factory(*given, **parameters)
    except TypeError as error:
        raise ControllerError(
            f"{what} {name}: a parameter is of the wrong type",
            hint=f"its defaults: {_defaults(factory)}",
        ) from error


def _near(name: str, among: Iterable[str]) -> str:
    known = list(among)
    near = difflib.get_close_matches(name, known, 1)
    return (f"did you mean {near[0]}? " if near else "") + f"known: {', '.join(known)}"


def _defaults(factory: Callable[..., Way]) -> str:
    found = inspect.signature(factory).parameters.values()
    return ", ".join(f"{p.name}={p.default!r}" for p in found if p.default is not p.empty)
