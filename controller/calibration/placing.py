"""Who served whom: by the rows, or by a router that is simulated in its place."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from controller.calibration.recorded import Recorded, Times
from controller.calibration.simulated import MOST_INSTANCES
from controller.simulator.state import NOBODY

# A smaller share of rows without an instance is left out, rather than what the others tell.
_FEW_UNKNOWN = 0.05
# Replicas that differ by more in the middle are no replicas of one kind.
_UNEQUAL = 0.2
_LEAST_EACH = 20


@dataclass(frozen=True, slots=True)
class Placed:
    """Rows that can be simulated.

    Attributes:
        recorded: on known instances, or none of them.
        replicas: behind a router where they are on none.
        notes: what had to be assumed, a sentence each.
    """

    recorded: Recorded
    replicas: int
    notes: tuple[str, ...] = ()


def placed(recorded: Recorded, replicas: int | None, gauges: pl.DataFrame | None) -> Placed:
    """Rows on the instances that they name.

    Args:
        recorded: as they come.
        replicas: as somebody said; None: as many as there are instances or scraped targets.
        gauges: scrapes with a url; None without.
    """
    unknown = recorded.replica == NOBODY
    share = float(unknown.mean()) if len(recorded) else 1.0
    if not recorded.instances or share > _FEW_UNKNOWN:
        return _behind_a_router(recorded, replicas, gauges)
    notes = []
    if unknown.any():
        notes.append(f"{int(unknown.sum()):,} requests name no instance and are left out")
        recorded = recorded.where(~unknown)
    if len(recorded.instances) > MOST_INSTANCES:
        counts = np.bincount(recorded.replica, minlength=len(recorded.instances))
        busiest = np.argsort(-counts, kind="stable")[:MOST_INSTANCES]
        notes.append(
            f"the {MOST_INSTANCES} busiest of {len(recorded.instances)} instances are looked at"
        )
        recorded = _renumbered(recorded.where(np.isin(recorded.replica, busiest)))
    return Placed(recorded, 1, tuple(notes))


def unequal(recorded: Recorded, simulated: Times) -> str | None:
    """A note where replicas of one profile are not equally fast."""
    if not recorded.is_placed or len(recorded.instances) < 2:
        return None
    misses = {}
    for number, name in enumerate(recorded.instances):
        mine = recorded.replica == number
        both = mine & np.isfinite(simulated.e2e)
        if both.sum() >= _LEAST_EACH:
            misses[name] = float(np.median(recorded.times.e2e[both] / simulated.e2e[both]))
    if len(misses) < 2:
        return None
    slow, fast = max(misses, key=misses.__getitem__), min(misses, key=misses.__getitem__)
    more = misses[slow] / misses[fast] - 1
    if more <= _UNEQUAL:
        return None
    return f"{slow} takes {more:.0%} longer than {fast}: one profile stands for both"


def _behind_a_router(
    recorded: Recorded, replicas: int | None, gauges: pl.DataFrame | None
) -> Placed:
    scraped = 0 if gauges is None else gauges["url"].n_unique()
    count = replicas or max(len(recorded.instances), scraped, 1)
    nobody = np.full(len(recorded), NOBODY, np.int32)
    note = (
        f"who served whom is unknown: {count} replica{'s' if count > 1 else ''} behind a router"
        " that picks the one with the fewest requests"
    )
    return Placed(replace(recorded, replica=nobody, instances=()), count, (note,))


def _renumbered(recorded: Recorded) -> Recorded:
    kept, numbers = np.unique(recorded.replica, return_inverse=True)
    names = tuple(recorded.instances[one] for one in kept.tolist())
    return replace(recorded, replica=numbers.astype(np.int32), instances=names)
