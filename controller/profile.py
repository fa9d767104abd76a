"""What a replica can do: seconds of a step by its contents, limits, price; and how sure that is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from controller.numbers import Floats
from store.errors import ControllerError

_DAMAGE = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What reading a file ends in that is no profile."""


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Seconds of one step: a sum of what it costs anyway and what its contents cost.

    Attributes:
        fixed_seconds: scheduler, kernels, sampling.
        prompt_token_seconds: each prompt token.
        prompt_token_squared_seconds: attention inside a prompt; the square of the tokens of a step.
        sequence_seconds: each sequence that decodes.
        sequence_squared_seconds: the square of their number.
        cached_token_seconds: each token in their caches.
        decoding_seconds: once, if anything decodes: reading the weights for few tokens is slower
            than what a step with a prompt takes at least.
    """

    fixed_seconds: float
    prompt_token_seconds: float = 0.0
    prompt_token_squared_seconds: float = 0.0
    sequence_seconds: float = 0.0
    sequence_squared_seconds: float = 0.0
    cached_token_seconds: float = 0.0
    decoding_seconds: float = 0.0

    def row(self) -> Floats:
        """(TERMS,) in the order of `state`."""
        return np.array(list(asdict(self).values()), dtype=np.float64)

    def seconds(self, prompt_tokens: float, sequences: float, cached_tokens: float) -> float:
        """Of a step with these contents."""
        p, b = prompt_tokens, sequences
        return (
            self.fixed_seconds
            + p * (self.prompt_token_seconds + p * self.prompt_token_squared_seconds)
            + b * (self.sequence_seconds + b * self.sequence_squared_seconds)
            + self.cached_token_seconds * cached_tokens
            + (self.decoding_seconds if b > 0 else 0.0)
        )


@dataclass(frozen=True, slots=True)
class QuantileFit:
    """One quantile of a latency over all judged rows, as measured and as simulated.

    Attributes:
        quantity: "ttft", "tpot" or "e2e".
        level: in (0, 1).
        measured_seconds: of the rows.
        simulated_seconds: of the same rows.
    """

    quantity: str
    level: float
    measured_seconds: float
    simulated_seconds: float


@dataclass(frozen=True, slots=True)
class FitError:
    """How far a profile is from rows that its fit did not see.

    A ratio is |simulated - real| / real of one request. None is unknown.

    Attributes:
        median_ratio: of the end-to-end time.
        p99_ratio: its 99 % quantile.
        rows: judged on.
        source: where they come from.
        ttft_median_ratio: of the time to the first token.
        ttft_p99_ratio: its 99 % quantile.
        tpot_median_ratio: of the time per token after it.
        tpot_p99_ratio: its 99 % quantile.
        attainment_points: simulated less recorded attainment, in percentage points.
        rival_median_ratio: E2E of the best rule without a simulator, on the same rows.
        bound_ratio: that the median must not pass to be validated.
        bound_points: that the attainment must not miss by more.
        p95_ratio: 95 % quantile of the end-to-end error; None in profiles of before it was kept.
        ttft_p95_ratio: of the time to the first token.
        tpot_p95_ratio: of the time per token after it.
        quantiles: of all rows together; () where single points were judged, or of before.
    """

    median_ratio: float
    p99_ratio: float
    rows: int
    source: str
    ttft_median_ratio: float | None = None
    ttft_p99_ratio: float | None = None
    tpot_median_ratio: float | None = None
    tpot_p99_ratio: float | None = None
    attainment_points: float | None = None
    rival_median_ratio: float | None = None
    bound_ratio: float = 0.10
    bound_points: float = 5.0
    p95_ratio: float | None = None
    ttft_p95_ratio: float | None = None
    tpot_p95_ratio: float | None = None
    quantiles: tuple[QuantileFit, ...] = ()

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> FitError:
        """From what `asdict` made of it, and JSON of that."""
        given = dict(told)
        fits = given.pop("quantiles", ())
        return cls(**given, quantiles=tuple(QuantileFit(**one) for one in fits))

    @property
    def is_validated(self) -> bool:
        """Whether both bounds are kept, as far as they were measured."""
        missed = abs(self.attainment_points) if self.attainment_points is not None else 0.0
        return self.median_ratio <= self.bound_ratio and missed <= self.bound_points

    def sentence(self) -> str:
        """For people, beside every what-if."""
        tail = "" if self.p95_ratio is None else f", 95% within {self.p95_ratio:.1%},"
        told = f"median E2E error {self.median_ratio:.1%}{tail} on {self.rows:,} rows"
        told += f" of {self.source}"
        if self.is_validated:
            return f"validated: {told}"
        return f"not validated: {told}, bound {self.bound_ratio:.0%}"


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of replica.

    Attributes:
        name: unique, like "llama-2-70b, 4 x h100".
        step: seconds of its steps.
        request_seconds: once a request (tokenizer, HTTP).
        token_budget: tokens a step.
        sequences: that decode at once.
        cache_tokens: that the KV cache holds.
        is_chunked: prompts share steps with decoding; else decoding waits for them.
        gpus: cards of a replica.
        gpu_type: of the cards.
        price_per_hour: of a replica, in the currency of the settings; None unknown.
        transfer_seconds: to send a cache to a decoding replica, once.
        transfer_token_seconds: and for each token.
        error: None where nothing was compared yet.
        source: what it was fitted to.
        licence: of that, where it is somebody else's.
        notes: what was assumed, a sentence each.
    """

    name: str
    step: StepTimes
    request_seconds: float = 0.0
    token_budget: int = 2048
    sequences: int = 256
    cache_tokens: int = 1_000_000
    is_chunked: bool = True
    gpus: int = 1
    gpu_type: str = ""
    price_per_hour: float | None = None
    transfer_seconds: float = 0.0
    transfer_token_seconds: float = 0.0
    error: FitError | None = field(default=None)
    source: str = ""
    licence: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ControllerError: naming what.
        """
        numbers = {**asdict(self.step), "request_seconds": self.request_seconds}
        for name, value in numbers.items():
            if not math.isfinite(value) or value < 0:
                raise ControllerError(f"profile {self.name}: {name} must be 0 or more, not {value}")
        if self.step.fixed_seconds + self.step.sequence_seconds + self.step.decoding_seconds <= 0:
            raise ControllerError(
                f"profile {self.name}: a step of one sequence takes no time",
                hint="give fixed_seconds, decoding_seconds or sequence_seconds",
            )
        for name in ("token_budget", "sequences", "cache_tokens", "gpus"):
            if getattr(self, name) < 1:
                raise ControllerError(f"profile {self.name}: {name} must be at least 1")

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Read what `save` wrote.

        Raises:
            ControllerError: it is no profile.
        """
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            error = told.pop("error", None)
            step = StepTimes(**told.pop("step"))
            made = cls(step=step, notes=tuple(told.pop("notes", ())), **told)
            return replace(made, error=FitError.of(error)) if error else made
        except _DAMAGE as problem:
            raise ControllerError(
                f"{path} is no profile: {problem}",
                hint="make one: servescope calibrate --out FILE",
            ) from problem
