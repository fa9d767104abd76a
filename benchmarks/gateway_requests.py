"""What the tables of admission ask of a fleet: lengths, arrivals, replicas, and means over seeds.

Lengths are of Azure's 2023 conversations where SERVESCOPE_DATA has `azure_llm_2023/`, else
log-normal like them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from controller.gateway.admission.base import Place, Rule
from controller.gateway.ask import SloClass
from controller.gateway.gate import Policies
from controller.gateway.queueing.registry import make as make_line
from controller.gateway.routing.least_outstanding import LeastOutstanding
from controller.gateway.trial.requests import Requests, predicted
from controller.gateway.trial.trial import ReplicaPlan, trial
from controller.numbers import Floats
from controller.profile import Profile, StepTimes

PROFILE = Profile(
    "one card, a model of 8 billion",
    StepTimes(0.004, 6e-5, 0.0, 1.5e-4, 0.0, 6e-9, 0.012),
    sequences=64,
    cache_tokens=200_000,
)
REPLICAS, SEATS, TOLD_EVERY = 3, 32, 0.1
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


def mean(rows: Sequence[Row]) -> Row:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def spread(rows: Sequence[Row], key: str, worst: Callable[[Sequence[float]], float]) -> str:
    """The mean, and the worst of all seeds where there are several."""
    values = [row[key] for row in rows]
    text = ratio(float(np.mean(values)))
    return text if len(rows) == 1 else f"{text} ({ratio(worst(values))})"


def ratio(value: float) -> str:
    return f"{100 * value:.1f} %"
