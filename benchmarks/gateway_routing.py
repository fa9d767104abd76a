"""Every way over the same conversations on four simulated replicas, as a table in docs/routing.md.

Conversations of several turns (each turn repeats all before it) come in open loop: what a client
sends next does not wait for the answer. The gate that serves decides; replicas are those of the
fine simulator. Three cases:

    equal      four healthy replicas
    degraded   one of them takes twice as long; nobody tells the gate, ejection's comparison sees it
    new        one of them comes only after a third of the time, with an empty cache

    python benchmarks/gateway_routing.py [--seconds 300] [--seeds 3] [--rate 3] [--no-write]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from controller.gateway.ask import Ask
from controller.gateway.ejection import EjectionLimits, Ejector
from controller.gateway.estimates import TYPICAL_PACE, expectation
from controller.gateway.fleet import Instance
from controller.gateway.gate import Gate, Policies
from controller.gateway.pace_book import PaceBook
from controller.gateway.queueing.fcfs import Fcfs
from controller.gateway.routing.base import Choice, Way
from controller.gateway.routing.registry import make, wrapped
from controller.gateway.trial.requests import Requests
from controller.gateway.trial.result import TrialResult
from controller.gateway.trial.trial import ReplicaPlan, trial
from controller.profile import Profile
from controller.profiles import find

PAGE = Path(__file__).parents[1] / "docs" / "routing.md"
BEGIN, END = "<!-- the table: benchmarks/gateway_routing.py -->", "<!-- end of the table -->"
PROFILE = "llama-3.1-70b-fp8-vllm-2-x-h100"
REPLICAS, SEATS = 4, 48
WARM_RATIO = 0.15
WAYS = (
    "round-robin", "power-of-two", "least-outstanding", "least-tokens", "cache-aware",
    "prefix-affinity", "predicted-finish",
)  # fmt: skip
AROUND = {"equal": "sticky", "degraded": "degradation-aware", "new": "slow-start"}
LEARNT = "predicted-finish, pace learnt"
CASES = ("equal", "degraded", "new")


@dataclass(frozen=True, slots=True)
class Row:
    """Of one way in one case: medians over the seeds."""

    way: str
    numbers: tuple[float, ...]


def main() -> int:
    """Run it, print it, write it."""
    given = arguments()
    profile, began = find(PROFILE), time.monotonic()
    lines: list[str] = []
    for case in CASES:
        rows = [measured(name, case, profile, given) for name in names(case)]
        lines += table(case, rows)
    lines.append(
        f"Medians of {given.seeds} seeds, {given.seconds:.0f} s each, "
        f"{given.rate:g} conversations/s, profile `{PROFILE}`, "
        f"{REPLICAS} replicas of {SEATS} seats."
    )
    print("\n".join(lines), f"\n\n{time.monotonic() - began:.0f} s")
    if given.write:
        written(lines)
    return 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=3.0, help="conversations a second")
    parser.add_argument("--no-write", dest="write", action="store_false")
    return parser.parse_args()


def names(case: str) -> list[str]:
    """Ways of a case: all of them, two with the wrapper that it is about, one that is told less."""
    around = [f"{name} + {AROUND[case]}" for name in ("least-outstanding", "predicted-finish")]
    return [*WAYS, *around, LEARNT]


def measured(name: str, case: str, profile: Profile, given: argparse.Namespace) -> Row:
    """One way on all seeds."""
    found = []
    for seed in range(given.seeds):
        requests = conversations(given.seconds, given.rate, seed)
        way, *around = name.removesuffix(", pace learnt").split(" + ")
        policy, is_learnt = (
            Watched(wrapped(make(way), {each: {} for each in around})),
            name == LEARNT,
        )
        told = plans(case, profile, given.seconds)
        result = trial(
            requests,
            Policies(Fcfs(), policy),
            [replace(plan, knows_pace=False) for plan in told] if is_learnt else told,
            watch=None if is_learnt else policy.watcher(profile),
            paces=PaceBook() if is_learnt else None,
            told_every_seconds=0.25,
        )
        found.append(numbers(result, given.seconds))
    return Row(name, tuple(np.median(np.array(found), axis=0)))


def conversations(seconds: float, rate: float, seed: int) -> Requests:
    """Turns of conversations; a turn's prompt is everything before it and some new words."""
    dice = np.random.default_rng(seed)
    columns: dict[str, list] = {key: [] for key in ("at", "prompt", "output", "group", "shared")}
    start, number = 0.0, 0
    while (start := start + dice.exponential(1 / rate)) < seconds:
        number += 1
        at, before = start, 0
        prompt = int(np.clip(dice.lognormal(6.3, 0.9), 32, 6000))
        for _ in range(1 + min(dice.geometric(0.22), 15)):
            output = int(np.clip(dice.lognormal(5.0, 0.8), 4, 1500))
            row = (at, before + prompt, output, number, before)
            for key, value in zip(columns, row, strict=True):
                columns[key].append(value)
            before += prompt + output
            prompt = int(np.clip(dice.lognormal(4.2, 0.9), 8, 2000))
            at += 8.0 + dice.exponential(25.0)
            if before > 24_000 or at >= seconds:
                break
    sessions = [f"s{group}" for group in columns["group"]]
    return Requests.of(
        columns["at"], sessions, columns["prompt"], columns["output"], session=sessions,
        group=columns["group"], shared=columns["shared"],
    )  # fmt: skip


def plans(case: str, profile: Profile, seconds: float) -> list[ReplicaPlan]:
    """The replicas of a case; the last one is the odd one."""
    slow = replace(
        profile,
        name="slow",
        step=replace(
            profile.step, **{key: 2 * getattr(profile.step, key) for key in _times(profile)}
        ),
    )
    last = slow if case == "degraded" else profile
    ready = seconds / 3 if case == "new" else 0.0
    made = [ReplicaPlan(f"r{number}", profile, SEATS) for number in range(REPLICAS - 1)]
    return [*made, ReplicaPlan(f"r{REPLICAS - 1}", last, SEATS, ready_at=ready)]


def _times(profile: Profile) -> Sequence[str]:
    return tuple(profile.step.__dataclass_fields__)


class Watched:
    """A way whose replicas are compared as they serve, as the proxy compares them."""

    def __init__(self, inner: Way) -> None:
        # It only looks: ejection itself would hide what the way does.
        self.spec, self.inner = inner.spec, inner
        self._ejector = Ejector(EjectionLimits(failures_in_a_row=10**9, most_score=1e9))
        self._judged = 0.0
        self._expected: dict[int, tuple[float, float]] = {}

    def choose(self, ask: Ask, choice: Choice) -> Instance | None:
        """The inner way's."""
        return self.inner.choose(ask, choice)

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """Note what a healthy replica would take."""
        self._expected[ask.number] = expectation(instance, TYPICAL_PACE)
        self.inner.sent(ask, instance, now)

    def ended(self, ask: Ask, instance: Instance, now: float, *, is_failed: bool) -> None:
        """Note how it went."""
        first, gap = self._expected.pop(ask.number)
        tpot = (now - ask.first) / (ask.output_tokens - 1) if ask.output_tokens > 1 else None
        self._ejector.saw(
            instance.name,
            now,
            is_failed=is_failed,
            first=(ask.first - ask.started) / first,
            gap=None if tpot is None else tpot / gap,
        )
        self.inner.ended(ask, instance, now, is_failed=is_failed)

    def gone(self, name: str) -> None:
        """The inner way's."""
        self._ejector.gone(name)
        self.inner.gone(name)

    def watcher(self, healthy: Profile) -> Callable[[Gate, float], None]:
        """Every second, what each replica was like goes to the gate; paces are as promised."""
        pace = ReplicaPlan("any", healthy).instance().pace

        def watch(gate: Gate, now: float) -> None:
            if now < self._judged + 1.0:
                return
            self._judged = now
            self._ejector.judge(now, dict.fromkeys(gate.instances, "all"))
            for one in gate.instances.values():
                one.pace = pace
                one.degradation_ratio = self._ejector.degradation_ratio(one.name)

        return watch


def numbers(result: TrialResult, seconds: float) -> tuple[float, ...]:
    """TTFT p50, p99, TPOT p99, share of prompt tokens found in caches, busiest replica / mean."""
    requests = result.requests
    judged = requests.arrived >= WARM_RATIO * seconds
    late = requests.arrived >= 0.4 * seconds
    tokens = requests.prompt + requests.output - result.cached
    shares = np.array(
        [
            tokens[late & (np.array(result.replica) == f"r{number}")].sum()
            for number in range(REPLICAS)
        ]
    )
    ttft = result.ttft[judged]
    return (
        float(np.nanquantile(ttft, 0.5)),
        float(np.nanquantile(ttft, 0.99)),
        float(np.nanquantile(result.tpot[judged], 0.99)),
        float(result.cached[judged].sum() / requests.prompt[judged].sum()),
        float(shares.max() / max(shares.mean(), 1.0)),
        float(shares[-1] / max(shares.sum(), 1.0)),
    )


TITLES: Mapping[str, str] = {
    "equal": "Four equal replicas",
    "degraded": "One of four takes twice as long",
    "new": "One of four comes after a third of the time, its cache empty",
}


def table(case: str, rows: Sequence[Row]) -> list[str]:
    """Markdown; the best of each column in bold."""
    best = [min(row.numbers[at] for row in rows) for at in range(3)]
    best += [max(row.numbers[3] for row in rows), min(row.numbers[4] for row in rows)]
    odd = "last replica's share" if case == "equal" else "odd replica's share"
    lines = [
        f"**{TITLES[case]}**", "",
        f"| way | TTFT p50 | TTFT p99 | TPOT p99 | cache hits | busiest / mean | {odd} |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for row in rows:
        shown = [
            f"{row.numbers[0]:.3f} s", f"{row.numbers[1]:.2f} s",
            f"{1e3 * row.numbers[2]:.0f} ms", f"{100 * row.numbers[3]:.0f} %",
            f"{row.numbers[4]:.2f}", f"{100 * row.numbers[5]:.0f} %",
        ]  # fmt: skip
        cells = [
            f"**{text}**" if at < 5 and row.numbers[at] == best[at] else text
            for at, text in enumerate(shown)
        ]
        lines.append(f"| {row.way} | {' | '.join(cells)} |")
    return [*lines, ""]


def written(lines: Sequence[str]) -> None:
    """Put the tables between the marks of the page."""
    text = PAGE.read_text()
    head, tail = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    PAGE.write_text("\n".join([head, "", *lines, tail]))


if __name__ == "__main__":
    raise SystemExit(main())
