"""Recorded requests through the simulator: each on the replica that served it, if that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from controller.calibration.recorded import Recorded, Times
from controller.profile import Profile
from controller.simulator.eyes import latencies
from controller.simulator.fleet import FleetModel, PoolPlan
from controller.simulator.state import DONE, LEAST_OUTSTANDING
from controller.simulator.workload import Workload
from controller.startup import StartupTimes

_AT_ONCE = StartupTimes.about(0.0)
_LONGEST_SECONDS = 1e6
# A pool for each instance; more share one behind a router.
MOST_INSTANCES = 64


def simulate(
    recorded: Recorded, profile: Profile, replicas: int = 1, router: int = LEAST_OUTSTANDING
) -> Times:
    """What the simulator says of the same requests.

    Args:
        recorded: who served whom decides where it is known.
        profile: of every replica.
        replicas: where it is not known, behind `router`.
        router: rule.
    """
    work = _from_zero(recorded.workload)
    is_placed = recorded.is_placed and len(recorded.instances) <= MOST_INSTANCES
    pools, entry = max(len(recorded.instances), 1) if is_placed else 1, None
    if is_placed:
        entry = recorded.replica.astype(np.int32)
    most = 1 if is_placed else max(replicas, 1)
    plans = [PoolPlan(str(n), profile, most, _AT_ONCE, router=router) for n in range(pools)]
    fleet = FleetModel(work, plans, 0, entry)
    for plan in plans:
        fleet.scale(plan.name, most, at_once=True)
    fleet.run_until(work.seconds)
    fleet.finish(_LONGEST_SECONDS)
    everyone = np.arange(len(work))
    ttft, tpot = latencies(fleet, everyone)
    requests = fleet.world.requests
    done = requests["status"] == DONE
    e2e = requests["end"] - requests["arrived"]
    return Times(*(np.where(done, some, np.nan) for some in (ttft, tpot, e2e)))


def _from_zero(work: Workload) -> Workload:
    """The simulator's day begins at second 0."""
    return replace(work, arrived=work.arrived - work.arrived[0])
