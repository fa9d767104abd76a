"""Whether to keep or make a replica warm: by expected cost, beside the policies people know.

All arrays are (windows, clients) booleans or probabilities; what is decided in a window is in force
in the next one. A *cold* start is a busy window entered without a warm replica; *idle* is a warm
window without a request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.distribution import Floats, Quantiles

Bools = npt.NDArray[np.bool_]
MOST_GAPS = 200


@dataclass(frozen=True, slots=True)
class Judged:
    """What a policy cost.

    Attributes:
        cold_ratio: share of busy windows that were entered cold; NaN without busy windows.
        idle_ratio: share of idle windows that were kept warm; NaN without idle windows.
        cold: busy windows entered cold.
        idle: idle windows kept warm.
    """

    cold_ratio: float
    idle_ratio: float
    cold: int
    idle: int


def should_be_warm(
    probability: npt.ArrayLike, cold_cost: npt.ArrayLike, idle_cost: npt.ArrayLike
) -> Bools:
    """Whether being warm costs less than being cold is expected to.

    Args:
        probability: P(busy in the next window), in [0, 1].
        cold_cost: of one cold start, >= 0, in any unit.
        idle_cost: of one warm window without a request, in the same unit.
    """
    likely = np.clip(np.asarray(probability, dtype=np.float64), 0.0, 1.0)
    return np.asarray(likely * np.asarray(cold_cost) > (1 - likely) * np.asarray(idle_cost))


def cold_costs(load: Quantiles, waiting: npt.ArrayLike, second_cost: float = 1.0) -> Floats:
    """What a cold start of each row costs: everybody who waits, waits for the whole load.

    Args:
        load: seconds until warm.
        waiting: (n,) requests that will wait for it, >= 0.
        second_cost: of one request-second.
    """
    return load.mean() * np.maximum(np.asarray(waiting, dtype=np.float64), 0.0) * second_cost


def judge(warm: Bools, busy: Bools) -> Judged:
    """What it cost to have been `warm` when it was `busy`; same shape, same windows."""
    cold, idle = int((busy & ~warm).sum()), int((warm & ~busy).sum())
    wanted, unwanted = int(busy.sum()), int((~busy).sum())
    return Judged(
        cold / wanted if wanted else float("nan"),
        idle / unwanted if unwanted else float("nan"),
        cold,
        idle,
    )


def keep_alive(busy: Bools, windows: int) -> Bools:
    """Warm in each window when one of the `windows` before it was busy: (windows, clients)."""
    warm = np.zeros_like(busy)
    for back in range(1, min(windows, len(busy)) + 1):
        warm[back:] |= busy[: len(busy) - back]
    return warm


def hybrid_histogram(
    busy: Bools, low: float = 0.05, high: float = 0.99, least_gaps: int = 10, usual: int = 6
) -> Bools:
    """Warm between two quantiles of the client's earlier gaps since it was last busy.

    It stays warm in the window after a busy one as well: nobody unloads between two requests.

    Args:
        busy: (windows, clients).
        low: warmed again at this quantile of the gaps.
        high: given up at this one.
        least_gaps: with fewer, a keep-alive of `usual` windows.
        usual: see `least_gaps`.

    Source: Shahrad et al. (2020), Serverless in the Wild, USENIX ATC.
    """
    warm = np.zeros_like(busy)
    for client in range(busy.shape[1]):
        warm[:, client] = _hybrid_of(busy[:, client].tolist(), low, high, least_gaps, usual)
    return warm


def _hybrid_of(busy: list[bool], low: float, high: float, least: int, usual: int) -> list[bool]:
    gaps: list[int] = []
    since: int | None = None
    begin, end = 1, usual
    warm = []
    for now in busy:
        # `since` counts the windows after the last busy one, this window included.
        warm.append(since == 0 or (since is not None and begin <= since + 1 <= end))
        if now:
            if since is not None and since > 0:
                gaps = [*gaps[-MOST_GAPS:], since + 1]
                if len(gaps) >= least:
                    begin, end = _window(np.array(gaps), low, high)
            since = 0
        elif since is not None:
            since += 1
    return warm


def _window(gaps: npt.NDArray[Any], low: float, high: float) -> tuple[int, int]:
    return int(np.floor(np.quantile(gaps, low))), int(np.ceil(np.quantile(gaps, high)))


def threshold_at_idle(probability: Floats, busy: Bools, idle_ratio: float) -> float:
    """The lowest P(busy) to be warm at, so that at most `idle_ratio` of idle windows are warm."""
    idle = np.sort(probability[~busy])[::-1]
    if not len(idle):
        return 0.0
    place = min(int(idle_ratio * len(idle)), len(idle) - 1)
    return float(np.nextafter(idle[place], 2.0))


def cold_at_idle(probability: Floats, busy: Bools, idle_ratio: float) -> Judged:
    """The best a ranking by probability does with that much idle."""
    return judge(probability >= threshold_at_idle(probability, busy, idle_ratio), busy)
