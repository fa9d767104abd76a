"""Ready is not warm: a replica takes traffic before its first answers are as fast as later ones.

Kernels are compiled and caches filled while the first requests wait. A replica is called warm from
the first request on after which a run of requests had a median time to first token near the steady
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NEAR_RATIO = 1.25
RUN = 5


@dataclass(frozen=True, slots=True)
class Warmth:
    """When a replica that is ready became warm.

    Attributes:
        warm_seconds: from ready to warm; None when it was not seen to become warm.
        requests: that were answered before it was warm.
        excess_seconds: what they waited for their first token beyond the steady time, in total.
        is_censored: whether requests ended before it was warm: the real value is larger than the
            time that was watched.
    """

    warm_seconds: float | None
    requests: int
    excess_seconds: float
    is_censored: bool


def warmth(
    since_ready_seconds: Sequence[float],
    ttft_seconds: Sequence[float],
    steady_seconds: float,
    run: int = RUN,
    near_ratio: float = NEAR_RATIO,
) -> Warmth:
    """When the time to first token was back at its steady value.

    Args:
        since_ready_seconds: arrival of each request after the replica was ready, rising.
        ttft_seconds: its time to first token; same length.
        steady_seconds: median of this model in steady state, > 0.
        run: so many requests in a row decide.
        near_ratio: their median may be this much above the steady one.

    Raises:
        ValueError: lengths differ, or the steady value is not above 0.
    """
    if len(since_ready_seconds) != len(ttft_seconds):
        raise ValueError("one arrival for each time to first token")
    if not steady_seconds > 0:
        raise ValueError("the steady time to first token must be above 0 s")
    at, ttft = np.asarray(since_ready_seconds, float), np.asarray(ttft_seconds, float)
    for begin in range(len(ttft) - run + 1):
        if np.median(ttft[begin : begin + run]) <= near_ratio * steady_seconds:
            # The run is near in its median; its own slow head still belongs to the warming.
            fast = ttft[begin : begin + run] <= near_ratio * steady_seconds
            first = begin + int(np.argmax(fast))
            warm = float(at[first]) if first else 0.0
            return Warmth(warm, first, _excess(ttft[:first], steady_seconds), is_censored=False)
    return Warmth(None, len(ttft), _excess(ttft, steady_seconds), is_censored=True)


def _excess(ttft: np.ndarray, steady: float) -> float:
    return float(np.maximum(ttft - steady, 0.0).sum())
