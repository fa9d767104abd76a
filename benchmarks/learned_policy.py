"""Train the learned policy on replayed traces, judge it on others, and write its weights.

    python -m benchmarks.learned_policy --out controller/policies/weights/hindsight.json

Learns from bursty courses at several rates, the first half of the packaged Azure conversation
trace, and, where SERVESCOPE_DATA names a folder with `servegen/windows.parquet`, from days of
ServeGen's rates. The back-test is of other bursty courses and the second half of the Azure trace,
at four times its rate. Of 150 more bursty courses the arrivals alone are looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import polars as pl

from controller.cases import LLAMA_70B, arrivals, bursty, day_of
from controller.observation import Limits, Objective
from controller.replay import ReplaySettings
from controller.simulator.workload import Workload
from predictors.hindsight import Settings
from servescope.replaying.learn import POOL, Course, gated, train

AZURE = Path(__file__).parents[1] / "servescope/data/AzureLLMInferenceTrace_conv.csv.gz"
SETTINGS = ReplaySettings(
    Objective(2.0, 0.1, 0.99), {POOL: Limits(1, 60)}, {POOL: 4}, warm_up_seconds=900.0
)
LEARNT_SEEDS = ((1, 1.0), (2, 1.0), (3, 0.25), (4, 1.5))
ARRIVAL_SEEDS, ARRIVAL_FACTORS = range(1001, 1151), (1.0, 0.5, 1.0, 1.5, 1.0, 0.25)
JUDGED_SEEDS = (101, 102)
LEARNT_STARTUPS, JUDGED_STARTUPS = (5.0, 60.0, 120.0, 300.0), (60.0, 300.0)
DAYS, DAY_RATE, MODEL = (0,), 2.0, "m-large"


def azure() -> Workload:
    rows = pl.read_csv(AZURE)
    at = rows["TIMESTAMP"].str.to_datetime(strict=False)
    seconds = (at - at[0]).dt.total_microseconds().to_numpy() / 1e6
    output = rows["GeneratedTokens"].clip(1).to_numpy()
    return Workload.of(seconds, rows["ContextTokens"].clip(1).to_numpy(), output)


def days(folder: str, sizes: Workload) -> list[Course]:
    path = Path(folder) / "servegen/windows.parquet"
    if not folder or not path.is_file():
        print("ServeGen's days are left out: SERVESCOPE_DATA names no folder with them")
        return []
    rates = (
        pl.scan_parquet(path)
        .filter(pl.col("model") == MODEL)
        .group_by("window_start_s")
        .agg(pl.col("rate_req_per_s").sum())
        .sort("window_start_s")
        .collect()["rate_req_per_s"]
        .to_numpy()
    )
    made = []
    for day in DAYS:
        course = day_of(rates[day * 144 : (day + 1) * 144], 600.0, DAY_RATE)
        work = arrivals(course, 1.0, sizes, np.random.default_rng(day))
        made.append(Course(f"servegen {MODEL} day {day}", work, LLAMA_70B, SETTINGS, 0.0))
    return made


def learnt(sizes: Workload) -> list[Course]:
    courses = [
        Course(
            f"bursty {seed} x{factor:g}", _scaled(bursty(sizes, seed), factor), LLAMA_70B, SETTINGS
        )
        for seed, factor in LEARNT_SEEDS
    ]
    first = sizes.between(0.0, sizes.seconds / 2)
    for factor in (2.0, 4.0):
        name = f"azure conv, first half x{factor:g}"
        courses.append(Course(name, first.faster(factor), LLAMA_70B, SETTINGS))
    return courses + days(os.environ.get("SERVESCOPE_DATA", ""), sizes)


def arriving(sizes: Workload) -> list[Course]:
    made = []
    for number, seed in enumerate(ARRIVAL_SEEDS):
        factor = ARRIVAL_FACTORS[number % len(ARRIVAL_FACTORS)]
        work = _scaled(bursty(sizes, seed), factor)
        made.append(Course(f"bursty {seed} x{factor:g}", work, LLAMA_70B, SETTINGS))
    return made


def judged(sizes: Workload) -> list[Course]:
    second = sizes.between(sizes.seconds / 2, sizes.seconds).faster(4.0)
    courses = [Course("azure conv, second half x4", second, LLAMA_70B, SETTINGS)]
    return courses + [
        Course(f"bursty {seed}", bursty(sizes, seed), LLAMA_70B, SETTINGS) for seed in JUDGED_SEEDS
    ]


def _scaled(workload: Workload, factor: float) -> Workload:
    return workload if factor == 1.0 else workload.faster(factor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rival", default="risk")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--judge-only", action="store_true", help="keep the weights of --out")
    asked = parser.parse_args()
    sizes, began = azure(), time.perf_counter()
    if asked.judge_only:
        weights = json.loads(asked.out.read_text(encoding="utf-8"))
    else:
        weights = train(learnt(sizes), LEARNT_STARTUPS, Settings(seed=asked.seed), arriving(sizes))
        asked.out.write_text(json.dumps(weights) + "\n", encoding="utf-8")
    print(json.dumps(weights["trained"], indent=1))
    print(f"after {time.perf_counter() - began:.0f} s")
    weights = gated(weights, judged(sizes), JUDGED_STARTUPS, rival=asked.rival)
    print(json.dumps(weights["gate"], indent=1))
    asked.out.write_text(json.dumps(weights) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
