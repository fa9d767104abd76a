"""All policies on three courses of load, by the fair protocol, as tables in docs/policies.md.

    bursty    8 requests/s with bursts of x2 to 3.5 for 4 to 8 minutes, ramps of a minute; each seed
              draws its own two hours. Tuned on two other hours.
    azure     the Azure conversation trace of 2023, four times as many requests: tuned on the first
              half hour, judged on the second.
    servegen  a day of Alibaba's m-large rates (ServeGen), 8 requests/s on average, sizes of the
              Azure trace: tuned on day 3, judged on day 4. Needs SERVESCOPE_DATA.

Whatever is judged has a part before it that is replayed and not judged. Every policy has the same
number of trials; ours has a row without any. What is done is kept as JSON after every few policies,
and a second call goes on from there; the tables are made of all that is kept.

    python benchmarks/policy_cases.py [--cases bursty,azure,servegen] [--tune 16] [--workers 2]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis import replay_frames
from controller import cases
from controller.comparison import building, naming
from controller.comparison.campaign import Standing, compare
from controller.comparison.protocol import Case, Comparison, Segment, rates_of, split
from controller.comparison.validity import validity_text
from controller.observation import Objective
from controller.simulator.workload import Workload
from servescope.replaying import markdown, traces
from store.errors import ServescopeError

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "policies.md"
KEPT = Path(tempfile.gettempdir()) / "servescope-policy-cases"
# Before that only the rates are known, as to a controller that runs for longer.
PAST_SECONDS = 4 * 3600.0
HISTORY_SECONDS = {"bursty": 3600.0, "azure": 1800.0, "servegen": 7200.0}
STARTUPS = {"bursty": (60.0, 120.0, 300.0), "azure": (60.0,), "servegen": (120.0,)}
GOALS = {"bursty": 0.99, "azure": 0.99, "servegen": 0.995}
TITLES = {
    "bursty": "Bursts: 8 requests/s, x2 to 3.5 for minutes",
    "azure": "Azure conversation trace, x4",
    "servegen": "A smooth day of ServeGen, 8 requests/s",
}
WINDOW_SECONDS, DAY = 600.0, 144
DAY_RATE, TUNED_DAY, JUDGED_DAY = 8.0, 2, 3
TUNING_SEEDS = {"bursty": 2, "azure": 2, "servegen": 1}
MOST = {"bursty": 40, "azure": 40, "servegen": 60}
OTHER_SEEDS = 1000


def main() -> int:
    """Run what is asked for, then write the page."""
    given = arguments()
    given.kept.mkdir(parents=True, exist_ok=True)
    try:
        for name in given.cases.split(",") if not given.table else ():
            run_case(name, given)
        return written(given)
    except ServescopeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="bursty,azure,servegen")
    parser.add_argument("--policies", default=",".join(building.names()))
    parser.add_argument("--startup", help="seconds, with commas; else those of the case")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tune", type=int, default=16, help="trials of each policy")
    parser.add_argument("--curve", type=int, default=0, help="seeds of the curves")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--hours", type=float, help="of each judged part; else as it is")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of the results")
    parser.add_argument("--chunk", type=int, default=4, help="policies between two savings")
    parser.add_argument("--again", action="store_true", help="also what is kept already")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--table", action="store_true", help="run nothing, write the page")
    return parser.parse_args()


def run_case(name: str, given: argparse.Namespace) -> None:
    """One case, some policies at a time; what is done is kept after each."""
    wanted = building.checked_names(naming.listed(given.policies), may_import=True)
    startups = tuple(map(float, given.startup.split(","))) if given.startup else STARTUPS[name]
    made = built(name, given)
    whole = Comparison(
        wanted,
        cases.LLAMA_70B,
        Objective(2.0, 0.1, GOALS[name]),
        startups,
        tuple(range(given.seeds)),
        most=MOST[name],
        trials=given.tune,
        tuning_seeds=TUNING_SEEDS[name],
        curve_seeds=given.curve,
        run_seconds=900.0,
    )
    about_it = {
        "case": name,
        "title": TITLES[name],
        "goal": GOALS[name],
        "seeds": given.seeds,
        "trials": given.tune,
        "startups": list(startups),
        "requests": [segment.judged for segment in made.tests],
        "validity": validity_text(whole.profile),
    }
    rows = earlier(name, about_it, given)
    for part in chunks(wanted, rows, given.chunk):
        has_baselines = not any(row["row"] == "clairvoyant" for row in rows)
        print(f"{name}: {', '.join(part)}", file=sys.stderr)
        found = compare(
            replace(whole, policies=part), [made], given.workers, Told(name),
            has_baselines=has_baselines,
        )  # fmt: skip
        rows = [row for row in rows if row["policy"] not in part]
        rows += [{**row, "lanes": None} for row in found.rows]
        about_it["is_complete"] = found.is_complete
        kept_file(name, given).write_text(json.dumps({**about_it, "rows": rows}), "utf-8")
        if not found.is_complete:
            raise SystemExit("stopped; what was done is kept")


def kept_file(name: str, given: argparse.Namespace) -> Path:
    """Where a case is kept."""
    file: Path = given.kept / f"policy-cases-{name}.json"
    return file


def earlier(name: str, about_it: dict, given: argparse.Namespace) -> list[dict]:
    """Rows that were kept of the very same case; none with --again."""
    file = kept_file(name, given)
    if given.again or not file.is_file():
        return []
    told = json.loads(file.read_text("utf-8"))
    same = all(told.get(key) == value for key, value in about_it.items())
    return list(told["rows"]) if same and told["is_complete"] else []


def chunks(wanted: tuple[str, ...], rows: list[dict], size: int) -> list[tuple[str, ...]]:
    """Policies that are not there yet, some at a time."""
    there = {row["policy"] for row in rows}
    left = [one for one in wanted if one not in there]
    return [tuple(left[at : at + size]) for at in range(0, len(left), size)]


class Told:
    """Says how far it is every ten seconds.

    Args:
        name: of the case.
    """

    def __init__(self, name: str) -> None:
        self._name, self._last = name, 0.0

    def __call__(self, at: Standing) -> None:
        """News."""
        now = time.monotonic()
        if now - self._last > 10:
            self._last = now
            left = "" if at.left_seconds is None else f", {at.left_seconds / 60:.0f} min left"
            print(f"{self._name}: {at.share:.0%}, {at.done}/{at.expected}{left}", file=sys.stderr)


def built(name: str, given: argparse.Namespace) -> Case:
    """The arrivals of a case."""
    sizes = conversation()
    history, hours = HISTORY_SECONDS[name], given.hours
    if name == "azure":
        whole = sizes.faster(4)
        return split(name, whole if hours is None else whole.between(0, hours * 7200), 0.5, history)
    if name == "bursty":
        seconds = cases.BURSTY_SECONDS if hours is None else hours * 3600

        def part(seed: int, before: float) -> Segment:
            whole = cases.bursty(sizes, seed, PAST_SECONDS + before + seconds)
            past = rates_of(whole.between(0.0, PAST_SECONDS), PAST_SECONDS)
            return Segment(whole.between(PAST_SECONDS, math.inf), before, past)

        return Case(
            name,
            tuple(part(seed, history) for seed in range(given.seeds)),
            tuple(part(OTHER_SEEDS + seed, 0.0) for seed in range(2)),
        )
    if name == "servegen":
        return smooth_days(name, sizes, history, hours, given.seeds)
    raise SystemExit(f"there is no case '{name}'; there are: {', '.join(TITLES)}")


def smooth_days(
    name: str, sizes: Workload, history: float, hours: float | None, seeds: int
) -> Case:
    """Two days on end: the first tunes, the second is judged."""
    rates = servegen_rates()
    before = int(history / WINDOW_SECONDS)
    windows = DAY if hours is None else max(int(hours * 6), 1)

    def part(day: int, seed: int, early: int) -> Segment:
        start = day * DAY - early - int(PAST_SECONDS / WINDOW_SECONDS)
        mine = rates[start : day * DAY + windows]
        mean = DAY_RATE * float(mine.mean() / rates[day * DAY : (day + 1) * DAY].mean())
        course = cases.day_of(mine, WINDOW_SECONDS, mean)
        random = np.random.default_rng(seed)
        whole = cases.arrivals(course, 1.0, sizes, random)
        return Segment(
            whole.between(PAST_SECONDS, math.inf),
            early * WINDOW_SECONDS,
            rates_of(whole.between(0.0, PAST_SECONDS), PAST_SECONDS),
        )

    return Case(
        name,
        tuple(part(JUDGED_DAY, seed, before) for seed in range(seeds)),
        (part(TUNED_DAY, OTHER_SEEDS, 0),),
    )


def conversation() -> Workload:
    """The packaged trace."""
    path = traces.example("azure-2023-conv")
    assert path is not None
    return traces.of_file(path, {})[1].workload


def servegen_rates() -> np.ndarray:
    """(windows,) requests a second of all clients of m-large together.

    Source: alibaba/ServeGen, Apache-2.0.
    """
    folder = os.environ.get("SERVESCOPE_DATA")
    path = Path(folder or ".") / "servegen" / "language_m-large.tar.gz"
    if folder is None or not path.is_file():
        raise SystemExit(f"servegen: no {path}; set SERVESCOPE_DATA to the folder of the data sets")
    rates = np.zeros(14 * DAY)
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith("-trace.csv") else None
            for line in file or ():
                start, rate = line.decode().split(",")[:2]
                rates[int(float(start) / WINDOW_SECONDS)] += float(rate)
    return rates


def written(given: argparse.Namespace) -> int:
    """The tables of all cases that are there."""
    lines, missing = [], []
    for name, title in TITLES.items():
        file = kept_file(name, given)
        if not file.is_file():
            missing.append(name)
            continue
        told = json.loads(file.read_text("utf-8"))
        found = replay_frames.summary(replay_frames.outcomes(told["rows"]), told["goal"])
        lines += ["", f"### {title}", "", about(told), ""]
        for (startup,), part in found.group_by("startup_seconds", maintain_order=True):
            lines += ["", f"**Start-up {startup:g} s**", "", *markdown.table(part), ""]
        lines += [f"- {text}" for text in replay_frames.verdict(found, told["goal"])]
    if not lines:
        print("nothing was run yet", file=sys.stderr)
        return 1
    markdown.replaced(given.page, lines[1:])
    if missing:
        print(f"not in the page: {', '.join(missing)}", file=sys.stderr)
    return 0


def about(told: dict) -> str:
    """What a table stands on."""
    low, high = min(told["requests"]), max(told["requests"])
    many = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    stopped = "" if told["is_complete"] else " **Stopped before the end.**"
    return (
        f"{many} requests judged a seed, {told['seeds']} seeds, median and range; {told['trials']}"
        f" trials a policy; {told['goal']:.1%} of all requests with TTFT <= 2 s and TPOT <= 0.1 s."
        f" {told['validity'][:1].upper()}{told['validity'][1:]}.{stopped}"
    )


if __name__ == "__main__":
    sys.exit(main())
