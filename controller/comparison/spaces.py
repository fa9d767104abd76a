"""What tuning may change of each policy, in ranges wide enough for most fleets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller.comparison.naming import STATIC, parsed
from controller.policy import PolicySpec


@dataclass(frozen=True, slots=True)
class Range:
    """One parameter's range.

    Attributes:
        low: smallest.
        high: largest.
        is_log: tried evenly by ratio.
        is_whole: whole numbers only.
    """

    low: float
    high: float
    is_log: bool = True
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One parameter's values that have no order."""

    values: tuple[Any, ...]


Dimension = Range | Choice

_DELAY = Range(0.0, 1200.0, is_log=False)
_HOLD = Range(15.0, 1200.0)
_ONGOING = Range(1.0, 64.0)
SPACES: Mapping[str, Mapping[str, Dimension]] = {
    "kubernetes-hpa": {
        "target_ongoing": _ONGOING,
        "down_seconds": _DELAY,
        "tolerance_up": Range(0.01, 0.3),
    },
    "queue-length-hpa": {"target_waiting": Range(0.1, 20.0)},
    "keda": {"target": _ONGOING, "cooldown_seconds": _HOLD},
    "knative-kpa": {
        "target": Range(1.0, 100.0),
        "stable_seconds": Range(10.0, 600.0),
        "panic_ratio": Range(1.1, 5.0),
        "down_delay_seconds": _DELAY,
    },
    "ray-serve": {
        "target_ongoing": _ONGOING,
        "look_back_seconds": Range(5.0, 120.0),
        "up_seconds": Range(1.0, 120.0),
        "down_seconds": _HOLD,
    },
    "skyserve": {
        "target_qps": Range(0.1, 10.0),
        "up_seconds": Range(20.0, 600.0),
        "down_seconds": Range(20.0, 2400.0),
    },
    "aibrix-apa": {"target": Range(0.02, 0.9), "down_seconds": _DELAY},
    "wva": {
        "analyzer": Choice(("v1", "v2")),
        "kv_saturated": Range(0.05, 0.95),
        "queue_saturated": Range(0.5, 20.0),
        "kv_spare": Range(0.02, 0.6),
        "queue_spare": Range(0.1, 10.0),
    },
    "dynamo": {
        "forecast": Choice(("constant", "arima", "kalman")),
        "load_factor": Range(0.5, 3.0),
        "sensitivity": Range(0.2, 1.0),
        "throughput_seconds": Range(30.0, 600.0),
    },
    "dynamo-throughput": {
        "forecast": Choice(("constant", "arima", "kalman")),
        "load_factor": Range(0.5, 3.0),
        "throughput_seconds": Range(30.0, 600.0),
    },
    "dynamo-load": {"sensitivity": Range(0.2, 1.0)},
    "heteroscale": {
        "target_tokens_per_second": Range(30.0, 4000.0),
        "cooldown_seconds": _DELAY,
    },
    "tokenscale": {"share": Range(0.2, 2.5), "down_seconds": _HOLD},
    "melange": {"margin": Range(0.4, 3.0), "hold_seconds": Range(30.0, 1800.0)},
}


def space_of(spec: PolicySpec, name: str) -> Mapping[str, Dimension]:
    """What may be changed of a policy: its own space, or else its main knob's range.

    Args:
        spec: of the policy.
        name: that it was asked for by.
    """
    base, _ = parsed(name)
    if base == STATIC:
        # A fleet that somebody names is that fleet.
        return {}
    if base in SPACES:
        return SPACES[base]
    if spec.knob and len(spec.knob_values) > 1:
        low, high = min(spec.knob_values), max(spec.knob_values)
        return {spec.knob: Range(low, high, is_log=low > 0)}
    return {}


def inside(space: Mapping[str, Dimension], settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The part of settings that a space is about, moved into its ranges; None if any is missing.

    Args:
        space: of a policy.
        settings: of the same policy.
    """
    found: dict[str, Any] = {}
    for name, what in space.items():
        value = settings.get(name)
        if value is None:
            return None
        found[name] = min(max(value, what.low), what.high) if isinstance(what, Range) else value
    return found
