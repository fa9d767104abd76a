"""Counts what one replica does, so that the seconds of each request can be explained by it.

Prompt tokens are those that the gateway estimated, as paces are used with estimates; what the
engine says of a prompt that it had cached is taken as a share of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.gateway.ask import Ask
from controller.gateway.pace_terms import Work

BURST_RATIO = 0.01
"""An answer whose tokens came within this share of the wait for the first came as a whole."""


@dataclass(slots=True)
class _Running:
    """A request, and the replica's sums when it began and when its prompt was computed.

    Attributes:
        ahead: prompt tokens before its own that were not computed when it began.
        cached_tokens: of its prompt, as was thought then.
        began: prompt tokens computed and sequence seconds, by then.
        computed: the same when its prompt was; None before.
    """

    ahead: float
    cached_tokens: int
    began: tuple[float, float]
    computed: tuple[float, float] | None = None


class Ledger:
    """The sums of one replica, and of what runs there."""

    def __init__(self, now: float) -> None:
        self._prompt_tokens = self._sequence_seconds = 0.0
        self._decoding, self._at = 0, now
        self._running: dict[int, _Running] = {}

    def began(self, ask: Ask, ahead: float, now: float) -> None:
        """A request was sent there, with so many prompt tokens before its own."""
        self._running[ask.number] = _Running(ahead, ask.cached_tokens, self._sums(now))

    def computed(self, ask: Ask, now: float) -> None:
        """Its prompt is computed: it decodes."""
        one = self._running.get(ask.number)
        if one is not None and one.computed is None:
            self._prompt_tokens += ask.input_tokens - one.cached_tokens
            one.computed = self._sums(now)
            self._decoding += 1

    def over(self, ask: Ask, now: float) -> None:
        """It runs there no more."""
        one = self._running.pop(ask.number, None)
        if one is not None and one.computed is not None:
            self._sums(now)
            self._decoding -= 1

    def works(self, ask: Ask, now: float) -> tuple[Work | None, Work | None, Work | None]:
        """What a request that ends now was part of: to its first token, after that; or as a whole.

        Each is None where it is unknown.
        """
        one = self._running.get(ask.number)
        if one is None or not ask.has_first or ask.output_tokens < 1:
            return None, None, None
        to_first, after = ask.first - ask.started, now - ask.first
        is_burst = ask.output_tokens > 1 and after < BURST_RATIO * to_first
        if one.computed is None or not ask.is_stream or is_burst:
            return None, None, self._whole(ask, one, now)
        first = Work(
            one.ahead + _uncached(ask, one), 1.0,
            (one.computed[1] - one.began[1]) / to_first if to_first > 0 else 0.0, 1.0, to_first,
        )  # fmt: skip
        return first, self._since(one.computed, ask.output_tokens - 1, after, now), None

    @property
    def is_even(self) -> bool:
        """Whether nothing runs there, as far as is known here."""
        return not self._running and not self._decoding

    # -- inside

    def _sums(self, now: float) -> tuple[float, float]:
        self._sequence_seconds += self._decoding * max(now - self._at, 0.0)
        self._at = max(now, self._at)
        return self._prompt_tokens, self._sequence_seconds

    def _since(
        self, began: tuple[float, float], steps: int, seconds: float, now: float
    ) -> Work | None:
        if steps < 1 or seconds <= 0:
            return None
        prompts, sequence_seconds = self._sums(now)
        sequences = (sequence_seconds - began[1]) / seconds
        return Work(prompts - began[0], float(steps), steps * sequences, 0.0, seconds)

    def _whole(self, ask: Ask, one: _Running, now: float) -> Work | None:
        found = self._since(one.began, ask.output_tokens, now - ask.started, now)
        if found is None:
            return None
        # Its own prompt as the engine told of it, instead of as it was thought to be.
        thought = ask.input_tokens - one.cached_tokens if one.computed else 0.0
        prompts = max(found.prompt_tokens - thought, 0.0) + _uncached(ask, one)
        return Work(prompts, found.steps, found.sequence_steps, 1.0, found.seconds)


def _uncached(ask: Ask, one: _Running) -> float:
    """Prompt tokens that were computed, in the gateway's estimate."""
    cached, of = one.cached_tokens, ask.input_tokens
    if ask.told_input_tokens and ask.cached_tokens != one.cached_tokens:
        cached, of = ask.cached_tokens, ask.told_input_tokens
    return ask.input_tokens * (1 - min(cached / max(of, 1), 1.0))
