"""Rules of admission in the simulated trial: Retry-After, two classes, early rejection.

    SERVESCOPE_DATA=folder python benchmarks/gateway_admission.py [retry] [classes] [early]

Lengths are of Azure's 2023 conversations where the folder has `azure_llm_2023/`, else log-normal
like them. The gate, its rules and Retry-After are those that serve; replicas are the fine
simulator's; time is virtual, so every figure is the same on every machine. With `--write` the
tables go into docs/admission.md.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from controller.gateway.admission.base import Refusal
from controller.gateway.admission.registry import make_place, make_rule
from controller.gateway.ask import Ask, SloClass
from controller.gateway.fleet import Sight
from controller.gateway.gate import Gate, Policies
from controller.gateway.queueing.fcfs import Fcfs
from controller.gateway.promises import key_of
from controller.gateway.retry_after import RetryAfter, RetrySettings
from controller.gateway.routing.least_outstanding import LeastOutstanding
from controller.gateway.trial.requests import Requests, predicted
from controller.gateway.trial.result import TrialResult
from controller.gateway.trial.trial import Clients, ReplicaPlan, trial
from controller.profile import Profile, StepTimes

PROFILE = Profile(
    "one card, a model of 8 billion",
    StepTimes(0.004, 6e-5, 0.0, 1.5e-4, 0.0, 6e-9, 0.012),
    sequences=64,
    cache_tokens=200_000,
)
SEATS, REPLICAS = 32, 3
STATIC_SECONDS = (1.0, 5.0, 15.0)


def lengths(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(prompts, outputs)."""
    dice = np.random.default_rng(seed)
    folder = os.environ.get("SERVESCOPE_DATA")
    path = Path(folder or "") / "azure_llm_2023/AzureLLMInferenceTrace_conv.csv.gz"
    if folder and path.is_file():
        rows = pl.read_csv(path)
        chosen = dice.integers(0, len(rows), n)
        prompt = rows["ContextTokens"].clip(1).to_numpy()[chosen]
        return prompt, rows["GeneratedTokens"].clip(1).to_numpy()[chosen]
    prompt = np.clip(dice.lognormal(6.6, 0.9, n), 8, 8_000).astype(int)
    return prompt, np.clip(dice.lognormal(4.9, 0.9, n), 2, 1_500).astype(int)


def requests(rate: Callable[[float], float], seconds: float, seed: int, **more: object) -> Requests:
    """Poisson arrivals of a rate that changes with time."""
    dice = np.random.default_rng(seed + 1)
    most = max(rate(at) for at in np.arange(0, seconds, 0.5))
    at = np.cumsum(dice.exponential(1 / most, int(seconds * most * 1.5) + 50))
    at = at[at < seconds]
    at = at[dice.random(len(at)) < np.array([rate(t) / most for t in at])]
    prompt, output = lengths(len(at), seed)
    return Requests.of(
        at, [f"t{number % 5}" for number in range(len(at))], prompt, output,
        expected=predicted(output, 0.5, seed),
        # A prompt is known again by hashes of its blocks; here by a name of its own.
        session=[f"s{number}" for number in range(len(at))], **more,
    )  # type: ignore[arg-type]  # fmt: skip


# -- (a) Retry-After


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

    def __init__(self, probe: Probe, static: float | None, settings: RetrySettings) -> None:
        super().__init__(settings)
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
class RetryCase:
    name: str
    rate: Callable[[float], float]
    seconds: float
    plans: tuple[ReplicaPlan, ...]
    queue: int = 48


def retry_cases() -> list[RetryCase]:
    there = tuple(ReplicaPlan(f"r{n}", PROFILE, SEATS) for n in range(REPLICAS))
    coming = tuple(
        ReplicaPlan(f"s{n}", PROFILE, SEATS, 40.0, 65.0 + 2 * n, said_ready_at=62.0,
                    said_late_at=70.0)
        for n in range(REPLICAS)
    )  # fmt: skip
    full = capacity()
    return [
        RetryCase("steady, 1.15 x", lambda t: 1.15 * full, 240.0, there),
        RetryCase("steady, 1.5 x", lambda t: 1.5 * full, 120.0, there),
        RetryCase("burst, 3 x for 20 s", lambda t: full * (3.0 if 30 < t < 50 else 0.6), 150.0, there),
        RetryCase(
            "burst, replicas start", lambda t: full * (1.8 if 30 < t < 120 else 0.6), 180.0,
            there + coming,
        ),
    ]  # fmt: skip


def capacity() -> float:
    """Requests a second of the fleet at full load."""
    n = 1_500
    prompt, output = lengths(n, 99)
    many = Requests.of(np.zeros(n), ["a"] * n, prompt, output)
    plans = [ReplicaPlan(f"r{k}", PROFILE, SEATS) for k in range(REPLICAS)]
    done = trial(many, Policies(Fcfs(), LeastOutstanding()), plans)
    ends = np.sort(done.end)
    return float(0.7 * n / (ends[int(0.85 * n)] - ends[int(0.15 * n)]))


def retry(
    case: RetryCase, static: float | None, seed: int
) -> tuple[TrialResult, Probe, RetryAfter]:
    probe = Probe()
    settings = RetrySettings(keeps_places=static is None)
    watched = Watched(probe, static, settings)
    policies = Policies(
        Fcfs(), LeastOutstanding(), (make_rule("queue-depth", requests=case.queue),)
    )
    result = trial(
        requests(case.rate, case.seconds, seed), policies, case.plans,
        clients=Clients(most_retries=2), promises=watched, watch=probe, told_every_seconds=0.1,
    )  # fmt: skip
    return result, probe, watched


def retry_row(case: RetryCase, static: float | None, seed: int) -> dict[str, float]:
    result, probe, watched = retry(case, static, seed)
    pairs = [(told, real) for _, told, real in probe.found if told is not None and real > 0]
    errors = [abs(told - real) / real for told, real in pairs]
    came = {one.number for one in result.refused if one.attempt == 1 and one.again_at is not None}
    again = {one.number for one in result.refused if one.attempt == 2}
    most = watched.settings.most_seconds
    cut = {one.number for one in result.refused if one.attempt == 1 and one.told_seconds == most}
    return {
        "refused": len({one.number for one in result.refused}) / len(result.requests),
        "told": len(pairs),
        "median_error": float(np.median(errors)) if errors else math.nan,
        "real_p50": float(np.median([real for _, real in pairs])) if pairs else math.nan,
        "again": len(again) / max(len(came), 1),
        "again_uncut": len(again - cut) / max(len(came - cut), 1),
        "gave_up": float(result.gave_up.mean()),
        "tokens": result.tokens_per_second(),
        "meter_error": watched.meter.median_error() or math.nan,
        "capped": watched.meter.capped_count,
        "silent": watched.meter.silent_count,
        "factor": watched.meter.factor("model"),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=["retry"])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    print("capacity", capacity())
    for case in retry_cases():
        for static in (None, *STATIC_SECONDS[:1]):
            row = retry_row(case, static, options.seed)
            print(case.name, static, {key: round(value, 3) for key, value in row.items()})


if __name__ == "__main__":
    main()
