"""Rules of admission in the simulated trial: Retry-After, two classes, early rejection.

    SERVESCOPE_DATA=folder python benchmarks/gateway_admission.py
    python benchmarks/gateway_admission.py retry classes --seeds 5 --first 201 --write

Lengths are of Azure's 2023 conversations where the folder has `azure_llm_2023/`, else log-normal
like them. The gate, its rules and Retry-After are those that serve; replicas are the fine
simulator's; time is virtual, so every figure is the same on every machine. `--write` puts the
tables into docs/admission.md. Two minutes on one core for one seed.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import gateway_swing
import numpy as np
import polars as pl

from controller.gateway.admission.base import Place, Refusal, Rule
from controller.gateway.admission.leftover import Leftover
from controller.gateway.admission.registry import make_place, make_rule
from controller.gateway.ask import Ask, SloClass
from controller.gateway.fleet import Sight
from controller.gateway.gate import Gate, Policies
from controller.gateway.promises import key_of
from controller.gateway.queueing.registry import make as make_line
from controller.gateway.retry_after import RetryAfter, RetrySettings
from controller.gateway.routing.least_outstanding import LeastOutstanding
from controller.gateway.trial.requests import Requests, predicted
from controller.gateway.trial.result import TrialResult
from controller.gateway.trial.trial import Clients, ReplicaPlan, trial
from controller.numbers import Floats
from controller.profile import Profile, StepTimes

DOCS = Path(__file__).parent.parent / "docs/admission.md"
PROFILE = Profile(
    "one card, a model of 8 billion",
    StepTimes(0.004, 6e-5, 0.0, 1.5e-4, 0.0, 6e-9, 0.012),
    sequences=64,
    cache_tokens=200_000,
)
REPLICAS, TOLD_EVERY = 3, 0.1
Rate = Callable[[float], float]
Row = Mapping[str, float]


def azure() -> Path | None:
    """The file of Azure's conversations, where there is one."""
    folder = os.environ.get("SERVESCOPE_DATA")
    path = Path(folder or "") / "azure_llm_2023/AzureLLMInferenceTrace_conv.csv.gz"
    return path if folder and path.is_file() else None


def lengths(n: int, seed: int) -> tuple[Floats, Floats]:
    """(prompts, outputs)."""
    dice = np.random.default_rng(seed)
    path = azure()
    if path is not None:
        rows = pl.read_csv(path)
        chosen = dice.integers(0, len(rows), n)
        prompt = rows["ContextTokens"].clip(1).to_numpy()[chosen]
        return prompt, rows["GeneratedTokens"].clip(1).to_numpy()[chosen]
    prompt = np.clip(dice.lognormal(6.6, 0.9, n), 8, 8_000).astype(int)
    return prompt, np.clip(dice.lognormal(4.9, 0.9, n), 2, 1_500).astype(int)


def arrivals(rate: Rate, seconds: float, dice: np.random.Generator) -> Floats:
    """Poisson, of a rate that changes."""
    most = max(rate(at) for at in np.arange(0, seconds, 0.5))
    at = np.cumsum(dice.exponential(1 / most, int(seconds * most * 1.5) + 50))
    at = at[at < seconds]
    return at[dice.random(len(at)) < np.array([rate(one) / most for one in at])]


def requests(rate: Rate, seconds: float, seed: int, slo: SloClass | None = None) -> Requests:
    """Of one class and five tenants."""
    at = arrivals(rate, seconds, np.random.default_rng(seed + 1))
    n = len(at)
    prompt, output = lengths(n, seed)
    return Requests.of(
        at, [f"t{number % 5}" for number in range(n)], prompt, output, slo=slo,
        expected=predicted(output, 0.5, seed),
        # A prompt is known again by hashes of its blocks; here by a name of its own.
        session=[f"s{number}" for number in range(n)],
    )  # fmt: skip


def plans(seats: int) -> tuple[ReplicaPlan, ...]:
    return tuple(ReplicaPlan(f"r{number}", PROFILE, seats) for number in range(REPLICAS))


def at_full_load(seats: int, seconds: float = 120.0) -> tuple[float, float]:
    """(requests, tokens) a second that the fleet serves when all wait from the start."""
    n = int(40 * seconds)
    prompt, output = lengths(n, 99)
    many = Requests.of(np.zeros(n), ["a"] * n, prompt, output, patience_seconds=np.full(n, seconds))
    done = trial(many, policies(), plans(seats))
    counted = (done.end > 0.15 * seconds) & (done.end <= seconds)
    tokens = float((prompt + output)[counted].sum())
    return float(counted.sum()) / (0.85 * seconds), tokens / (0.85 * seconds)


def policies(rules: Sequence[Rule] = (), places: Sequence[Place] = ()) -> Policies:
    return Policies(make_line("fcfs"), LeastOutstanding(), rules, places)


# -- Retry-After


@dataclass
class Probe:
    """Finds when a refused request would have been let in, had it asked at every moment.

    It asks with what the gateway knows of that request, and books nothing. Who gave up is left out.
    """

    open: dict[int, tuple[float, float | None, Ask]] = field(default_factory=dict)
    found: list[tuple[float, float | None, float]] = field(default_factory=list)

    def add(self, ask: Ask, at: float, told: float | None) -> None:
        self.open.setdefault(ask.number, (at, told, ask))

    def let_in(self, number: int, at: float) -> None:
        if number in self.open:
            since, told, _ = self.open.pop(number)
            self.found.append((since, told, at - since))

    def __call__(self, gate: Gate, at: float) -> None:
        known = gate.retry_after
        due = {
            number: one.due_at
            for number, (_, _, ask) in self.open.items()
            if (one := known.promises.of(key_of(ask))) is not None
        }
        for number in self.open.keys() - due.keys():
            del self.open[number]
        for number in sorted(due, key=lambda number: due[number]):
            ask = self.open[number][2]
            sight = known.seen_by(ask, gate.sight(ask.model, at))
            if gate.would_refuse(ask, sight) is not None:
                return
            self.let_in(number, at)


class Watched(RetryAfter):
    """The gate's own, or a static header; tells the probe whom it refused."""

    def __init__(self, probe: Probe, static: float | None) -> None:
        super().__init__(RetrySettings(keeps_places=static is None))
        self.probe, self.static = probe, static

    def told(self, refusal: Refusal, ask: Ask, sight: Sight) -> Refusal:
        said = super().told(refusal, ask, sight)
        if self.static is not None:
            said = replace(said, wait_seconds=self.static)
        self.probe.add(ask, sight.now, said.wait_seconds)
        return said

    def entered(self, ask: Ask, now: float) -> None:
        super().entered(ask, now)
        self.probe.let_in(ask.number, now)


@dataclass(frozen=True)
class Case:
    """What comes, and what serves it."""

    name: str
    rate: Rate
    seconds: float
    plans: tuple[ReplicaPlan, ...]


SEATS, QUEUE = 32, 48
HEADERS: dict[str, float | None] = {
    "servescope": None, "1 s, always": 1.0, "5 s, always": 5.0, "15 s, always": 15.0,
}  # fmt: skip


def retry_cases() -> list[Case]:
    coming = tuple(
        ReplicaPlan(f"s{number}", PROFILE, SEATS, 40.0, 65.0 + 2 * number, said_ready_at=62.0,
                    said_late_at=70.0)
        for number in range(REPLICAS)
    )  # fmt: skip
    there, (full, _) = plans(SEATS), at_full_load(SEATS)

    def burst(low: float, high: float, end: float) -> Rate:
        return lambda at: full * (high if 30 < at < end else low)

    return [
        Case("steady, 1.15 times the fleet", lambda _: 1.15 * full, 240.0, there),
        Case("steady, 1.5 times", lambda _: 1.5 * full, 120.0, there),
        Case("burst of 3 times for 20 s", burst(0.6, 3.0, 50.0), 150.0, there),
        Case("1.8 times for 90 s, replicas start", burst(0.6, 1.8, 120.0), 180.0, there + coming),
    ]


def retry(case: Case, static: float | None, seed: int) -> Row:
    probe = Probe()
    result = trial(
        requests(case.rate, case.seconds, seed),
        policies([make_rule("queue-depth", requests=QUEUE)]), case.plans, watch=probe,
        clients=Clients(most_retries=2), promises=Watched(probe, static),
        told_every_seconds=TOLD_EVERY,
    )  # fmt: skip
    pairs = [(told, real) for _, told, real in probe.found if told is not None and real > 0]
    errors = [abs(told - real) / real for told, real in pairs]
    came = {one.number for one in result.refused if one.attempt == 1 and one.again_at is not None}
    again = {one.number for one in result.refused if one.attempt == 2}
    return {
        "error": float(np.median(errors)) if errors else math.nan,
        "real": float(np.median([real for _, real in pairs])) if pairs else math.nan,
        "again": len(again) / max(len(came), 1),
        "gave_up": float(result.gave_up.mean()),
        "asked": float(result.tries.sum() / len(result.requests)),
        "tokens": result.tokens_per_second(),
    }


def retry_table(seeds: Sequence[int]) -> str:
    lines = [
        "| case | header | median error of the wait | realised wait, median | refused again |"
        " gave up | tries of a request | tokens/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in retry_cases():
        for header, static in HEADERS.items():
            rows = [retry(case, static, seed) for seed in seeds]
            row = mean(rows)
            is_far = row["error"] >= 10
            told = f"{row['error']:.0f} times" if is_far else spread(rows, "error", max)
            lines.append(
                f"| {case.name} | {header} | {told} | {row['real']:.2f} s |"
                f" {spread(rows, 'again', max)} | {ratio(row['gave_up'])} | {row['asked']:.2f} |"
                f" {row['tokens']:,.0f} |"
            )
    return "\n".join(lines)


# -- two classes

TTFT, TPOT, CLASS_SEATS, CLASS_SECONDS, WARM = 1.0, 0.05, 48, 240.0, 30.0
ONE = SloClass("all", TTFT, TPOT)
ONLINE = SloClass("online", TTFT, TPOT)
BATCH = SloClass("batch", priority=-1, is_best_effort=True)
BURSTS = (0.8, 1.0)
ALONE = "online alone"
ORACLE, FORESEEN_SECONDS = "priority, leftover that knows the future", 8.0
CLASSES: dict[str, tuple[SloClass, SloClass, tuple[str, ...]]] = {
    ALONE: (ONLINE, BATCH, ()),
    "first come, first served": (ONE, ONE, ()),
    "priority": (ONLINE, BATCH, ()),
    "priority, pace-limit": (ONLINE, BATCH, ("pace-limit",)),
    "priority, leftover": (ONLINE, BATCH, ("leftover",)),
    ORACLE: (ONLINE, BATCH, ()),
}


def two_classes(
    full: float, burst: float, online: SloClass, batch: SloClass, seed: int, alone: bool
) -> Requests:
    """Three times what the fleet serves: online 0.45, and more for 10 s of every 50; the rest."""
    dice = np.random.default_rng(seed)
    first = arrivals(lambda at: full * (burst if at % 50 > 40 else 0.45), CLASS_SECONDS, dice)
    second = arrivals(lambda _: 2.44 * full, CLASS_SECONDS, dice)[: 0 if alone else None]
    at = np.concatenate([first, second])
    prompt, output = lengths(len(at), seed + 3)
    return Requests.of(
        at, ["online"] * len(first) + ["batch"] * len(second), prompt, output,
        expected=predicted(output, 0.5, seed),
        slo=(online,) * len(first) + (batch,) * len(second),
        patience_seconds=CLASS_SECONDS - at + 1e-6,
    )  # fmt: skip


class Foreknown(Leftover):
    """`leftover` that knows how many of online will run when, had they the fleet to themselves.

    So it lets best effort end in time before a burst. Beside it all lengths are known.
    """

    def __init__(self, alone: TrialResult) -> None:
        super().__init__(pace_slack=0.8)
        times = np.arange(0.0, CLASS_SECONDS + FORESEEN_SECONDS, TOLD_EVERY)
        begun = np.searchsorted(np.sort(alone.started), times)
        self._running = begun - np.searchsorted(np.sort(alone.end), times)

    def kept_seats(self, now: float) -> float:
        """For as many more as will run before one that starts now has ended, likely."""
        first = min(int(now / TOLD_EVERY), len(self._running) - 1)
        ahead = self._running[first : first + int(FORESEEN_SECONDS / TOLD_EVERY)]
        return math.ceil((ahead.max() - ahead[0]) / REPLICAS)


def classes(name: str, burst: float, full: tuple[float, float], seed: int) -> Row:
    online, batch, places = CLASSES[name]
    asked = two_classes(full[0], burst, online, batch, seed, name == ALONE)
    made: list[Place] = [make_place(one) for one in places]
    if name == ORACLE:
        asked = replace(asked, expected=asked.output.astype(float))
        online_alone = two_classes(full[0], burst, online, batch, seed, alone=True)
        made = [Foreknown(trial(online_alone, policies(), plans(CLASS_SEATS)))]
    done = trial(asked, policies((), made), plans(CLASS_SEATS), told_every_seconds=TOLD_EVERY)
    is_online = np.array(asked.tenant) == "online"
    judged = is_online & (asked.arrived > WARM) & (asked.arrived < CLASS_SECONDS - 20)
    good = (done.ttft <= TTFT) & (np.nan_to_num(done.tpot, nan=0.0) <= TPOT)
    counted = (done.end > WARM) & (done.end <= CLASS_SECONDS)
    tokens = (asked.prompt + asked.output) / (CLASS_SECONDS - WARM)
    mine, rest = tokens[counted & is_online].sum(), tokens[counted & ~is_online].sum()
    return {
        "attainment": float(good[judged].mean()),
        "ttft": float(np.nanquantile(done.ttft[judged], 0.99)),
        "tpot": float(np.nanquantile(done.tpot[judged], 0.99)),
        "online": float(mine / full[1]),
        "fill": float(rest / (full[1] - mine)),
    }


def classes_table(seeds: Sequence[int]) -> str:
    lines = [
        "| online in bursts | who may start | online kept both bounds | TTFT p99 | TPOT p99 |"
        " online, of the fleet | best effort, of what online leaves |",
        "|---|---|---|---|---|---|---|",
    ]
    full = at_full_load(CLASS_SEATS)
    for burst in BURSTS:
        for name in CLASSES:
            rows = [classes(name, burst, full, seed) for seed in seeds]
            row = mean(rows)
            fill = "-" if name == ALONE else spread(rows, "fill", min)
            lines.append(
                f"| {burst:g} of the fleet | {name} | {spread(rows, 'attainment', min)} |"
                f" {row['ttft']:.2f} s | {1000 * row['tpot']:.0f} ms | {ratio(row['online'])} |"
                f" {fill} |"
            )
    return "\n".join(lines)


# -- early rejection

RULES: dict[str, tuple[str, dict[str, float]]] = {
    "always": ("always", {}),
    "queue-depth, 256": ("queue-depth", {"requests": 256}),
    "queue-depth, 48": ("queue-depth", {"requests": 48}),
    "queue-depth, 16": ("queue-depth", {"requests": 16}),
    "early-rejection": ("early-rejection", {}),
}


def early(name: str, load: float, full: float, seed: int) -> Row:
    rule, parameters = RULES[name]
    asked = requests(lambda _: load * full, 120.0, seed, SloClass("online", 2.0, 0.06))
    result: TrialResult = trial(
        asked, policies([make_rule(rule, **parameters)]), plans(SEATS),
        told_every_seconds=TOLD_EVERY,
    )  # fmt: skip
    good = (result.ttft <= 2.0) & (np.nan_to_num(result.tpot, nan=0.0) <= 0.06)
    served = result.is_served
    return {
        "goodput": float(good.sum() / 120.0),
        "attainment": float(good.mean()),
        "served": float(good[served].mean()),
        "refused": float(result.gave_up.mean()),
    }


def early_table(seeds: Sequence[int]) -> str:
    lines = [
        "| load | rule | goodput | kept both bounds, of all | of those served | refused |",
        "|---|---|---|---|---|---|",
    ]
    full, _ = at_full_load(SEATS)
    for load in (0.8, 1.1, 1.5, 3.0):
        for name in RULES:
            row = mean([early(name, load, full, seed) for seed in seeds])
            lines.append(
                f"| {load:g} times | {name} | {row['goodput']:.1f}/s | {ratio(row['attainment'])} |"
                f" {ratio(row['served'])} | {ratio(row['refused'])} |"
            )
    return "\n".join(lines)


# -- all of it


def mean(rows: Sequence[Row]) -> Row:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def spread(rows: Sequence[Row], key: str, worst: Callable[[Sequence[float]], float]) -> str:
    """The mean, and the worst of all seeds where there are several."""
    values = [row[key] for row in rows]
    text = ratio(float(np.mean(values)))
    return text if len(rows) == 1 else f"{text} ({ratio(worst(values))})"


def ratio(value: float) -> str:
    return f"{100 * value:.1f} %"


TABLES: dict[str, Callable[[Sequence[int]], str]] = {
    "retry": retry_table,
    "classes": classes_table,
    "early": early_table,
    "swing": gateway_swing.table,
}


def write(name: str, table: str) -> None:
    """Between the markers of the page."""
    start, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = DOCS.read_text(encoding="utf-8")
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{DOCS} has no markers {start} and {end}")
    DOCS.write_text(f"{before}{start}\n\n{table}\n\n{end}{after}", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", help=", ".join(TABLES))
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--first", type=int, default=1, help="of the seeds")
    parser.add_argument("--write", action="store_true", help="into docs/admission.md")
    options = parser.parse_args(argv)
    print(f"lengths: {azure() or 'log-normal, as SERVESCOPE_DATA has no azure_llm_2023'}\n")
    for name in options.parts or TABLES:
        table = TABLES[name](range(options.first, options.first + options.seeds))
        print(f"{name}\n\n{table}\n", flush=True)
        if options.write:
            write(name, table)


if __name__ == "__main__":
    main()
