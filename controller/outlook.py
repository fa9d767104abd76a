"""What is expected of a pool with so many replicas: load, share of it served in time, cost.

Pure, and deliberately simple: the load is the highest of the present rate and the forecasts' upper
quantiles over the settling time; what exceeds the capacity of the replicas misses the objective.
"""

from __future__ import annotations

import numpy as np

from controller import observation as seen
from controller.capacity import requests_per_second
from controller.observation import Objective, PoolView

LEVEL = 0.9
USUAL_INPUT, USUAL_OUTPUT = 1024.0, 256.0


def outlook(
    pool: PoolView, objective: Objective, replicas: int, seconds: float
) -> dict[str, float]:
    """What is expected over the settling time.

    Args:
        pool: as it was seen.
        objective: of its requests.
        replicas: that it would have.
        seconds: the settling time.

    Returns:
        peak_requests_per_second, attainment_ratio, replica_hours, cost; what is not known is
        left out.
    """
    made = {"replica_hours": replicas * seconds / 3600}
    rate = peak_rate(pool, seconds)
    if rate is not None:
        made["peak_requests_per_second"] = rate
    if pool.profile is not None and pool.profile.price_per_hour is not None:
        made["cost"] = made["replica_hours"] * pool.profile.price_per_hour
    capacity = capacity_of(pool, objective)
    if rate is not None and capacity is not None:
        served = replicas * capacity
        made["attainment_ratio"] = 1.0 if rate <= served else served / rate
    return made


def peak_rate(pool: PoolView, seconds: float) -> float | None:
    """The highest rate that has to be reckoned with; None unknown."""
    rates = [
        float(np.interp(LEVEL, one.levels, one.values))
        for one in pool.forecasts
        if one.signal == seen.REQUESTS_PER_SECOND and one.horizon_seconds <= max(seconds, 600.0)
    ]
    now = pool.reading(seen.REQUESTS_PER_SECOND).value
    return max([*rates, *([] if now is None else [now])], default=None)


def capacity_of(pool: PoolView, objective: Objective) -> float | None:
    """Requests a second of one replica; None without a profile."""
    if pool.profile is None:
        return None
    told = (pool.reading(seen.INPUT_TOKENS).value, pool.reading(seen.OUTPUT_TOKENS).value)
    hit = pool.reading(seen.PREFIX_HIT_RATIO).value or 0.0
    inputs = (told[0] or USUAL_INPUT) * (1 - min(hit, 1.0))
    return requests_per_second(pool.profile, objective, inputs, told[1] or USUAL_OUTPUT, pool.role)
