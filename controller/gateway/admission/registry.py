"""Every rule and place by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

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
from store.errors import ControllerError

Made = TypeVar("Made")
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


def make_rule(name: str, /, **parameters: Any) -> Rule:
    """A rule with books of its own.

    Args:
        name: one of `RULES`.
        parameters: as its class documents them; those not given are as there.

    Raises:
        ControllerError: no such rule, no such parameter, or a value out of range.
    """
    factory = _checked("rule", name, RULES, parameters)
    return factory(**parameters)


def make_place(name: str, /, **parameters: Any) -> Place:
    """A place; as `make_rule`."""
    factory = _checked("place", name, PLACES, parameters)
    return factory(**parameters)


def _checked(
    kind: str, name: str, known: Mapping[str, Callable[..., Made]], parameters: Mapping[str, Any]
) -> Callable[..., Made]:
    factory = known.get(name)
    if factory is None:
        near = difflib.get_close_matches(name, known, 1)
        raise ControllerError(
            f"there is no admission {kind} '{name}'",
            hint=(f"did you mean {near[0]}? " if near else "") + f"known: {', '.join(known)}",
        )
    allowed = tuple(inspect.signature(factory).parameters)
    for given in parameters:
        if given not in allowed:
            raise ControllerError(
                f"admission {kind} {name} has no parameter '{given}'",
                hint=f"it has {', '.join(allowed)}" if allowed else "it has none",
            )
    return factory
