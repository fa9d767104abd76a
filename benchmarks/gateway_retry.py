"""How well Retry-After says when a refused request would be let in, beside static headers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from gateway_requests import (
    PROFILE,
    REPLICAS,
    SEATS,
    TOLD_EVERY,
    Rate,
    Row,
    at_full_load,
    mean,
    plans,
    policies,
    ratio,
    requests,
    spread,
)

from controller.gateway.admission.base import Refusal
from controller.gateway.admission.registry import make_rule
from controller.gateway.ask import Ask
from controller.gateway.fleet import Sight
from controller.gateway.gate import Gate
from controller.gateway.promises import key_of
from controller.gateway.retry_after import RetryAfter, RetrySettings
from controller.gateway.trial.trial import Clients, ReplicaPlan, trial


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


QUEUE = 48
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


def table(seeds: Sequence[int]) -> str:
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
