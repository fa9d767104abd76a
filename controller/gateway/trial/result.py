"""What became of a trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from controller.gateway.gate import Counted
from controller.gateway.trial.requests import Requests, Wholes
from controller.numbers import Floats


@dataclass(frozen=True, slots=True)
class Refused:
    """A client was told no.

    Attributes:
        number: of the request.
        at: seconds.
        code: machine reason.
        told_seconds: Retry-After; None where none was told.
        attempt: 1 for the first try.
        again_at: when it came again; None where it gave up.
    """

    number: int
    at: float
    code: str
    told_seconds: float | None
    attempt: int
    again_at: float | None


@dataclass(frozen=True, slots=True)
class TrialResult:
    """n requests; times are seconds of the trial, NaN where one never got there.

    Attributes:
        requests: as they came.
        entered: (n,) when it was let in, after all tries.
        started: (n,) when it was handed to a replica.
        first: (n,) end of the step that gave its first token.
        end: (n,) end of the step that gave its last.
        longest_gap: (n,) seconds between two of its tokens.
        replica: (n,) names, "" for those that had none.
        cached: (n,) prompt tokens that were not computed.
        tries: (n,) how often the client asked.
        gave_up: (n,) refused for good, after all tries.
        left: (n,) waited longer than its patience.
        refused: every refusal, in the order of time.
        counted: of the gate.
        seconds: when the last request ended.
    """

    requests: Requests
    entered: Floats
    started: Floats
    first: Floats
    end: Floats
    longest_gap: Floats
    replica: tuple[str, ...]
    cached: Wholes
    tries: Wholes
    gave_up: npt.NDArray[np.bool_]
    left: npt.NDArray[np.bool_]
    refused: tuple[Refused, ...]
    counted: Counted
    seconds: float

    @property
    def queue(self) -> Floats:
        """(n,) seconds from the first try to the replica: waits after refusals count."""
        return self.started - self.requests.arrived

    @property
    def ttft(self) -> Floats:
        """(n,) seconds from the first try to the first token."""
        return self.first - self.requests.arrived

    @property
    def tpot(self) -> Floats:
        """(n,) mean seconds between tokens; NaN with one token."""
        gaps = self.requests.output - 1
        return np.where(gaps > 0, (self.end - self.first) / np.maximum(gaps, 1), np.nan)

    @property
    def e2e(self) -> Floats:
        """(n,) seconds from the first try to the last token."""
        return self.end - self.requests.arrived

    @property
    def is_served(self) -> npt.NDArray[np.bool_]:
        """(n,)."""
        return ~np.isnan(self.end)

    def tokens_per_second(self) -> float:
        """Prompt and output tokens of all that was served, by the whole length of the trial."""
        served = self.is_served
        tokens = self.requests.prompt[served].sum() + self.requests.output[served].sum()
        return float(tokens / self.seconds) if self.seconds > 0 else 0.0

    def course(
        self, at: npt.ArrayLike, input_weight: float = 1.0, output_weight: float = 2.0
    ) -> Mapping[str, Floats]:
        """Service that each tenant had by each time, spread evenly from first token to end.

        Source: VTC's artifact, which counts service so.
        """
        times = np.asarray(at, np.float64)
        names = np.asarray(self.requests.tenant)
        cost = input_weight * self.requests.prompt + output_weight * self.requests.output
        found: dict[str, Floats] = {}
        for tenant in dict.fromkeys(self.requests.tenant):
            mine = self.is_served & (names == tenant)
            first, end = self.first[mine], self.end[mine]
            long = np.maximum(end - first, 1e-9)
            share = np.clip((times[:, None] - first) / long, 0.0, 1.0)
            found[tenant] = share @ cost[mine].astype(np.float64)
        return found
