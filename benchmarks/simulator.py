"""Speed of the fast simulator beside the fine one that takes every step; and how far they differ.

The Azure conversation trace, four times as many requests, on eleven replicas. The peer is the fine
mode of the same model: plain Python, step by step, with paged caches.

    python benchmarks/simulator.py [--minutes 10]
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from controller.cases import LLAMA_70B
from controller.observation import Objective
from controller.simulator import fine
from controller.simulator.eyes import is_good, latencies
from controller.simulator.fleet import FleetModel, PoolPlan
from controller.simulator.workload import Workload
from controller.startup import StartupTimes
from servescope.replaying import traces

REPLICAS = 11


def fleet_of(work: Workload) -> FleetModel:
    """Eleven replicas that are ready."""
    made = FleetModel(work, [PoolPlan("a", LLAMA_70B, REPLICAS, StartupTimes.about(0.0))])
    made.scale("a", REPLICAS, at_once=True)
    return made


def fast(work: Workload) -> tuple[FleetModel, float]:
    """The whole of it, and the CPU seconds it took."""
    made = fleet_of(work)
    began = time.process_time()
    made.run_until(work.seconds)
    made.finish(1e5)
    return made, time.process_time() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="that both modes simulate")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    path = traces.example("azure-2023-conv")
    assert path is not None
    whole = traces.of_file(path, {})[1].workload.faster(4)
    fast(whole.between(0, 10))
    runs = [fast(whole) for _ in range(options.repeats)]
    seconds = [spent for _, spent in runs]
    good = is_good(runs[0][0], np.arange(len(whole)), Objective())
    part = whole.between(0, options.minutes * 60)
    both, spent_fast = fast(part)
    began = time.process_time()
    slow = fine.simulate(part, LLAMA_70B, REPLICAS)
    spent_fine = time.process_time() - began
    ttft, tpot = latencies(both, np.arange(len(part)))
    apart = {
        f"{name}_p{100 * level:.0f}_ratio": float(
            np.nanquantile(mine, level) / np.nanquantile(theirs, level) - 1
        )
        for name, mine, theirs in (("ttft", ttft, slow.ttft), ("tpot", tpot, slow.tpot))
        for level in (0.5, 0.95, 0.99)
    }
    told = {
        "requests": len(whole),
        "requests_per_second": round(len(whole) / min(seconds)),
        "requests_per_second_median": round(len(whole) / float(np.median(seconds))),
        "attainment_ratio": round(float(good.mean()), 4),
        "fine_requests_per_second": round(len(part) / spent_fine),
        "fast_over_fine": round(spent_fine / spent_fast, 1),
        **{name: round(value, 4) for name, value in apart.items()},
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
