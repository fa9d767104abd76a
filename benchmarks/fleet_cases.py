"""Whole fleets by the fair protocol, documented defaults, as tables in docs/policies.md.

    pair-bursts   prefill and decode on the course of bursts: 8 requests/s, x2 to 3.5 for minutes
    pair-shift    prefill and decode on the Azure conversation trace x4; in its second half requests
                  have the sizes of the code trace: twice the prompt, an eighth of the answer
    kinds-azure   three kinds of replicas with prices on the Azure conversation trace x4
    kinds-smooth  the same on hours of a ServeGen day, 8 requests/s. Needs SERVESCOPE_DATA

Replicas are shipped profiles of Llama-2-70B; prices, and the pace at which caches move, are
assumed (see `PRICES`, `MOVES`). What is done is kept as JSON; the tables are made of all that is.

    python benchmarks/fleet_cases.py [--cases pair-bursts,…] [--seeds 5] [--workers 2] [--table]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import policy_cases

from analysis import replay_frames
from controller import cases, profiles
from controller.comparison.campaign import compare
from controller.comparison.fleets import FleetPool, manner, ranks_by_cost
from controller.comparison.protocol import Case, Comparison, Segment, rates_of
from controller.comparison.runs import Run
from controller.comparison.tasks import Task, work
from controller.comparison.validity import fleet_text
from controller.observation import Objective
from controller.simulator.workload import Workload
from servescope.replaying import markdown, traces
from store.errors import ServescopeError

KEPT = Path(tempfile.gettempdir()) / "servescope-fleet-cases"
MARKS = ("<!-- fleets:begin -->", "<!-- fleets:end -->")
GOAL, STARTUP, MOST = 0.99, 60.0, 40
# Of a card an hour: about what clouds ask for; only their ratio matters.
PRICES = {"h100": 4.0, "a100": 2.0}
# Seconds of a cache's way, once and for each token: 320 KB a token over 50 GB/s.
MOVES = {"transfer_seconds": 0.005, "transfer_token_seconds": 6.5e-6}
PAIR = ("risk", "heteroscale", "tokenscale", "dynamo", "dynamo-throughput", "dynamo-load",
        "kubernetes-hpa", "skyserve")  # fmt: skip
KINDS = ("risk", "risk(together=)", "melange", "melange(margin=1.3)", "kubernetes-hpa",
         "dynamo-throughput")  # fmt: skip
AZURE_HISTORY, SMOOTH_HISTORY, SMOOTH_HOURS = 900.0, 1800.0, 3.0
TITLES = {
    "pair-bursts": "Prefill and decode: bursts, 8 requests/s, x2 to 3.5 for minutes",
    "pair-shift": "Prefill and decode: the Azure trace x4, sizes of code in the second half",
    "kinds-azure": "Three kinds of replicas: the Azure conversation trace x4",
    "kinds-smooth": "Three kinds of replicas: hours of a smooth day of ServeGen, 8 requests/s",
}


def main() -> int:
    """Run what is asked for, then write the page."""
    given = arguments()
    given.kept.mkdir(parents=True, exist_ok=True)
    try:
        for name in given.cases.split(",") if not given.table else ():
            if name not in TITLES:
                raise SystemExit(f"there is no case '{name}'; there are: {', '.join(TITLES)}")
            run_case(name, given)
        return written(given)
    except ServescopeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(TITLES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of the results")
    parser.add_argument("--page", type=Path, default=policy_cases.PAGE)
    parser.add_argument("--table", action="store_true", help="run nothing, write the page")
    return parser.parse_args()


def run_case(name: str, given: argparse.Namespace) -> None:
    """One case, kept when it is done."""
    is_pair = name.startswith("pair")
    fleet = pair() if is_pair else kinds()
    case = BUILT[name](given.seeds)
    comparison = Comparison(
        PAIR if is_pair else KINDS, fleet[0].profile, Objective(2.0, 0.1, GOAL), (STARTUP,),
        tuple(range(given.seeds)), fleet=fleet, run_seconds=900.0,
    )  # fmt: skip
    began = time.monotonic()
    found = compare(comparison, [case], given.workers, policy_cases.Told(name))
    rows = [{**row, "lanes": None} for row in found.rows]
    rows += [] if is_pair else alone(comparison, case)
    told = {
        "seeds": given.seeds,
        "requests": [segment.judged for segment in case.tests],
        "validity": fleet_text([pool.profile for pool in fleet]),
        "by_cost": ranks_by_cost(fleet),
        "alone": [one for one in comparison.policies if manner(fleet, one) == "pool by pool"],
        "seconds": time.monotonic() - began,
        "rows": rows,
    }
    kept_file(name, given).write_text(json.dumps(told), "utf-8")


def alone(comparison: Comparison, case: Case) -> list[dict]:
    """The cheapest fixed fleet of each kind by itself."""
    rows = []
    for pool in comparison.pools:
        one = replace(comparison, fleet=(pool,), profile=pool.profile, policies=("risk",))
        run = Run(0, "test", "static", "static-peak", STARTUP)
        for row in work(Task("fixed", run), one, [case], lambda share: None)["rows"]:
            counts = json.loads(row["parameters"])["replicas"]
            more = {"policy": f"static-{pool.name}", "row": "default", "lanes": None,
                    "title": f"Fixed, {pool.name} alone"}  # fmt: skip
            rows.append({**row, **more, "parameters": json.dumps(counts)})
    return rows


def pair() -> tuple[FleetPool, ...]:
    """A prefill and a decoding pool of the same replicas."""
    profile = replace(profiles.find("llama2-70b-4-x-h100"), **MOVES)
    return tuple(FleetPool(name, profile, name, most=MOST) for name in ("prefill", "decode"))


def kinds() -> tuple[FleetPool, ...]:
    """Four and eight H100, four A100."""
    made = []
    for name in ("4-x-h100", "4-x-a100", "8-x-h100"):
        profile = profiles.find(f"llama2-70b-{name}")
        price = profile.gpus * PRICES[profile.gpu_type]
        priced = replace(profile, price_per_hour=price)
        made.append(FleetPool(name.replace("-x-", "x"), priced, least=0, most=MOST))
    return tuple(made)


def bursts(seeds: int) -> Case:
    """As in policy_cases, but four hours of rates and half an hour of replay before."""
    sizes, before, seconds = conversation(), 1800.0, cases.BURSTY_SECONDS
    past = policy_cases.PAST_SECONDS

    def part(seed: int) -> Segment:
        whole = cases.bursty(sizes, seed, past + before + seconds)
        rates = rates_of(whole.between(0.0, past), past)
        return Segment(whole.between(past, math.inf), before, rates)

    return Case("pair-bursts", tuple(part(seed) for seed in range(seeds)))


def shift(seeds: int) -> Case:
    """Sizes of the second half are drawn anew for each seed."""
    whole, code = conversation().faster(4), trace("azure-2023-code")
    late = whole.arrived >= whole.seconds / 2

    def part(seed: int) -> Segment:
        drawn = np.random.default_rng(seed).integers(0, len(code), len(whole))
        prompt = np.where(late, code.prompt[drawn], whole.prompt)
        output = np.where(late, code.output[drawn], whole.output)
        return Segment(Workload.of(whole.arrived, prompt, output), AZURE_HISTORY)

    return Case("pair-shift", tuple(part(seed) for seed in range(seeds)))


def azure(seeds: int) -> Case:
    """One course for all seeds: start-up times and dice differ."""
    return Case("kinds-azure", (Segment(conversation().faster(4), AZURE_HISTORY),))


def smooth(seeds: int) -> Case:
    """The first hours of the day that policy_cases judges."""
    sizes = conversation()
    made = policy_cases.smooth_days("kinds-smooth", sizes, SMOOTH_HISTORY, SMOOTH_HOURS, seeds)
    return replace(made, tuning=())


BUILT: dict[str, Callable[[int], Case]] = {
    "pair-bursts": bursts,
    "pair-shift": shift,
    "kinds-azure": azure,
    "kinds-smooth": smooth,
}


def conversation() -> Workload:
    """The packaged trace."""
    return trace("azure-2023-conv")


def trace(name: str) -> Workload:
    """A packaged trace by its name."""
    path = traces.example(name)
    assert path is not None
    return traces.of_file(path, {})[1].workload


def kept_file(name: str, given: argparse.Namespace) -> Path:
    """Where a case is kept."""
    return Path(given.kept) / f"fleet-cases-{name}.json"


def written(given: argparse.Namespace) -> int:
    """The tables of all cases that are there."""
    lines, missing = [], []
    for name, title in TITLES.items():
        file = kept_file(name, given)
        if not file.is_file():
            missing.append(name)
            continue
        told = json.loads(file.read_text("utf-8"))
        by_cost = told["by_cost"]
        frame = replay_frames.outcomes(told["rows"])
        found = replay_frames.summary(frame, GOAL, by_cost=by_cost)
        lines += ["", f"### {title}", "", about(told), ""]
        lines += markdown.table(found, by_cost=by_cost)
        lines += ["", *(f"- {one}" for one in replay_frames.verdict(found, GOAL, by_cost=by_cost))]
    if not lines:
        print("nothing was run yet", file=sys.stderr)
        return 1
    markdown.replaced(given.page, lines[1:], MARKS)
    if missing:
        print(f"not in the page: {', '.join(missing)}", file=sys.stderr)
    return 0


def about(told: dict) -> str:
    """What a table stands on."""
    low, high = min(told["requests"]), max(told["requests"])
    many = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    pool_by_pool = f" Each pool alone: {', '.join(told['alone'])}." if told["alone"] else ""
    validity = told["validity"]
    return (
        f"{many} requests judged a seed, {told['seeds']} seeds, start-up {STARTUP:g} s;"
        f" {GOAL:.0%} of all requests with TTFT <= 2 s and TPOT <= 0.1 s.{pool_by_pool}"
        f" {validity[:1].upper()}{validity[1:]}."
    )


if __name__ == "__main__":
    sys.exit(main())
