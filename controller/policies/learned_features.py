"""What the learned policy looks at: one row of numbers from the last hour of one pool.

The same function makes the rows to learn from and the rows to answer. Rates stand relative to the
present one, so that a course that was learnt at 8 requests a second is known at 80; how many there
are is a feature of its own, because few arrivals scatter more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from controller import observation as seen
from controller.numbers import Floats
from controller.observation import PoolView
from controller.policies.parts import known, told
from controller.policies.windows import added

PAST_SECONDS, LEAST_SECONDS, PRESENT_SECONDS = 3600.0, 300.0, 60.0
# Under it a ratio to the present rate says nothing.
LEAST_RATE = 0.05
START_LEVEL = 0.9
_MOST_RATIO = 3.0
# The clock is the same everywhere: it has no range to be outside of.
CYCLIC = ("hour_sin", "hour_cos")
# Minutes of the windows.
MEANS, MOSTS, LEASTS = (2, 5, 10, 15, 30, 60), (5, 15, 30, 60), (5, 15, 60)
FEATURES = (
    "log_rate",
    "log_startup",
    "last_ratio",
    *(f"mean_{minutes}m_ratio" for minutes in MEANS),
    *(f"most_{minutes}m_ratio" for minutes in MOSTS),
    *(f"least_{minutes}m_ratio" for minutes in LEASTS),
    "slope_1m",
    "slope_5m",
    "scatter_15m",
    "queue_seconds",
    *CYCLIC,
)


def remembered_rates(
    past: Sequence[Sequence[float]], pool: PoolView, at: float
) -> list[list[float]]:
    """`past` with the newest reading of the rate, each scrape once."""
    rate, age = (
        told(pool, seen.REQUESTS_PER_SECOND),
        pool.reading(seen.REQUESTS_PER_SECOND).age_seconds,
    )
    kept = [[float(t), float(v)] for t, v in past if 0 <= at - t <= PAST_SECONDS]
    if rate is None or age is None:
        return kept
    scraped_at = at - age
    if kept and scraped_at <= kept[-1][0] + 1e-3:
        return kept
    return added(kept, scraped_at, float(f"{rate:.4g}"), PAST_SECONDS)


def rates_before(pool: PoolView, at: float, scrape_seconds: float) -> list[list[float]]:
    """What is told of the time before a policy began, as it would be remembered."""
    count = len(pool.history)
    past = [[at - scrape_seconds * (count - n), v] for n, v in enumerate(pool.history)]
    return [
        [t, float(f"{v:.4g}")] for t, v in past if known(v) is not None and at - t <= PAST_SECONDS
    ]


def present_rate(past: Sequence[Sequence[float]], at: float) -> float:
    """Mean of the last minute; at least `LEAST_RATE`."""
    values = _since(past, at, PRESENT_SECONDS)
    return max(sum(values) / len(values), LEAST_RATE) if values else LEAST_RATE


def features(
    past: Sequence[Sequence[float]],
    pool: PoolView,
    at: float,
    period_seconds: float,
    hour_offset_seconds: float = 0.0,
) -> Floats | None:
    """(len(FEATURES),), or None where too little is known.

    Args:
        past: [at, requests a second], oldest first, newest not older than a minute.
        pool: its queue and start-up times.
        at: unix seconds.
        period_seconds: until the next decision.
        hour_offset_seconds: added to `at` where a trace has no clock of its own.
    """
    if not past or past[-1][0] - past[0][0] < LEAST_SECONDS or at - past[-1][0] > PRESENT_SECONDS:
        return None
    now = present_rate(past, at)
    lead = (pool.startup.quantile(START_LEVEL) if pool.startup else 0.0) + period_seconds
    windows = {minutes: _since(past, at, 60.0 * minutes) for minutes in MEANS}
    before = [v for t, v in past if PRESENT_SECONDS < at - t <= 2 * PRESENT_SECONDS]
    earlier = [v for t, v in past if 300.0 < at - t <= 600.0]
    five = windows[5]
    turn = 2 * math.pi * ((at + hour_offset_seconds) % 86_400.0) / 86_400.0
    row = [
        math.log(now),
        math.log1p(max(lead, 0.0)),
        _ratio(past[-1][1], now),
        *(_ratio(_mean(windows[minutes]), now) for minutes in MEANS),
        *(_ratio(max(windows[minutes]), now) for minutes in MOSTS),
        *(_ratio(min(windows[minutes]), now) for minutes in LEASTS),
        _ratio(now, _mean(before) if before else now),
        _ratio(_mean(five), _mean(earlier) if earlier else _mean(five)),
        min(float(np.std(windows[15])) / now, _MOST_RATIO),
        math.log1p(queue_of(pool) / now),
        math.sin(turn),
        math.cos(turn),
    ]
    return np.asarray(row, dtype=np.float64)


def queue_of(pool: PoolView) -> float:
    """Requests that wait, as far as anybody tells."""
    waiting = told(pool, seen.REQUESTS_WAITING) or 0.0
    return waiting + (told(pool, seen.REQUESTS_HELD) or 0.0)


def _since(past: Sequence[Sequence[float]], at: float, seconds: float) -> list[float]:
    """Values of so long; the newest where there are none."""
    return [v for t, v in past if at - t <= seconds] or [past[-1][1]]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _ratio(value: float, to: float) -> float:
    """The logarithm of a ratio, within `_MOST_RATIO` either way."""
    made = math.log(max(value, LEAST_RATE) / max(to, LEAST_RATE))
    return min(max(made, -_MOST_RATIO), _MOST_RATIO)
