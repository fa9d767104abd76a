"""A stretch of time at a replica: what it did in it, and what a pace says that this takes."""

from __future__ import annotations

from dataclasses import dataclass

from controller.gateway.fleet import Pace

MOST_SECONDS = 1e5
MOST_COUNT = 1e9


@dataclass(frozen=True, slots=True)
class Work:
    """What a replica did in a stretch of time, and how long that took.

    Attributes:
        prompt_tokens: computed.
        steps: each gives one token to whoever decodes.
        sequence_steps: sum over the steps of those who decoded.
        requests: 1 until the first token, 0 after it.
        seconds: measured.
    """

    prompt_tokens: float
    steps: float
    sequence_steps: float
    requests: float
    seconds: float

    @property
    def row(self) -> tuple[float, float, float, float]:
        """Counts in the order of the coefficients."""
        return (self.prompt_tokens, self.steps, self.sequence_steps, self.requests)

    @property
    def is_sane(self) -> bool:
        """Whether anything can be learnt of it."""
        counts = all(0 <= one <= MOST_COUNT for one in self.row)
        return counts and any(self.row) and 0 < self.seconds <= MOST_SECONDS


def seconds_of(pace: Pace, work: Work) -> float:
    """That a replica of this pace would take."""
    return (
        work.prompt_tokens * pace.prompt_token_seconds
        + work.steps * pace.step_seconds
        + work.sequence_steps * pace.sequence_seconds
        + work.requests * pace.request_seconds
    )
