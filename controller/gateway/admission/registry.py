"""Every rule and place by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controller.by_name import ByName
from controller.gateway.admission.always import Always
from controller.gateway.admission.base import Place, Rule
from controller.gateway.admission.busy import BusyThreshold
from controller.gateway.admission.concurrency import Concurrency
from controller.gateway.admission.early_rejection import EarlyRejection
from controller.gateway.admission.fixed_window import FixedWindow
from controller.gateway.admission.has_replica import HasReplica
from controller.gateway.admission.kv_limit import KvLimit
from controller.gateway.admission.leftover import Leftover
from controller.gateway.admission.pace_limit import PaceLimit
from controller.gateway.admission.past_future import PastFuture
from controller.gateway.admission.queue_depth import QueueDepth
from controller.gateway.admission.quota import Quota
from controller.gateway.admission.saturation import Saturation
from controller.gateway.admission.token_bucket import TokenBucket

RULES: dict[str, Callable[..., Rule]] = {
    "always": Always,
    "has-replica": HasReplica,
    "token-bucket": TokenBucket,
    "fixed-window": FixedWindow,
    "quota": Quota,
    "concurrency": Concurrency,
    "queue-depth": QueueDepth,
    "busy-threshold": BusyThreshold,
    "saturation": Saturation,
    "early-rejection": EarlyRejection,
}
PLACES: dict[str, Callable[..., Place]] = {
    "kv-limit": KvLimit,
    "past-future": PastFuture,
    "pace-limit": PaceLimit,
    "leftover": Leftover,
}
_RULES = ByName("admission rule", RULES)
_PLACES = ByName("admission place", PLACES)


def make_rule(name: str, /, **parameters: Any) -> Rule:
    """A rule with books of its own.

    Args:
        name: one of `RULES`.
        parameters: as its class documents them; those not given are as there.

    Raises:
        ControllerError: no such rule, no such parameter, or a value out of range.
    """
    return _RULES.make(name, parameters)


def make_place(name: str, /, **parameters: Any) -> Place:
    """A place; as `make_rule`."""
    return _PLACES.make(name, parameters)
