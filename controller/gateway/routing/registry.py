"""All ways by name, what goes around them, and how one is made.

`make("prefix-affinity", key_blocks=8)` gives a way;
`wrapped(way, {"slow-start": {"seconds": 30}, "sticky": {}})` puts wrappers around it, the first
innermost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from controller.by_name import ByName
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
_WAYS = ByName("way", WAYS)
_WRAPPERS = ByName("wrapper", WRAPPERS)
_WRAPPER_SPECS = (held_back.SLOW_START, held_back.DEGRADATION_AWARE, sticky.SPEC)


def make(name: str, /, **parameters: Any) -> Way:
    """A way.

    Args:
        name: one of `WAYS`.
        parameters: knobs by name; those that are not given are as documented.

    Raises:
        ControllerError: no such way, no such parameter, or a value out of range.
    """
    return _WAYS.make(name, parameters)


def wrapped(way: Way, wrappers: Mapping[str, Mapping[str, Any]]) -> Way:
    """A way with wrappers around it.

    Args:
        way: chooses in the end.
        wrappers: name in `WRAPPERS` -> parameters; the first is innermost.

    Raises:
        ControllerError: as `make`.
    """
    for name, parameters in wrappers.items():
        way = _WRAPPERS.make(name, parameters, way)
    return way


def catalogue() -> tuple[WaySpec, ...]:
    """The spec of every way, then of every wrapper."""
    return (*(make(name).spec for name in WAYS), *_WRAPPER_SPECS)
