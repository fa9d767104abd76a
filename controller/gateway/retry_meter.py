"""How good Retry-After was, and how fast the queue really drained."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from statistics import median

from controller.gateway.drain import Drain
from controller.gateway.fleet import Sight

RECENT = 500
LOOK_SECONDS = 5.0
LEAST_STARTED = 5.0
FACTOR_SHARE = 0.3
MOST_FACTOR = 3.0
RETURN_SHARE = 0.05
MOST_EXPECTED = 10_000


@dataclass(slots=True)
class _Look:
    until: float
    expected: float
    started: int
    seats: int


class RetryMeter:
    """Counts and recent errors; all that the gateway shows of Retry-After.

    Attributes:
        told_count: refusals with a time.
        silent_count: refusals without.
        capped_count: of those told, cut to the most that is told.
        let_in_count: came back and were let in.
        refused_again_count: came back when told, and were refused.
        early_count: came before their time, or were told less than their time.
        away_count: never came back.
        kept_share: of promises, lately, whose request came back.
    """

    def __init__(self) -> None:
        self.told_count = self.silent_count = self.capped_count = 0
        self.let_in_count = self.refused_again_count = 0
        self.early_count = self.away_count = 0
        self.kept_share = 1.0
        self._started = 0
        self._errors: deque[float] = deque(maxlen=RECENT)
        self._expected: list[tuple[float, float, float]] = []
        self._looks: dict[str, _Look] = {}
        self._factors: dict[str, float] = {}

    # -- what happened

    def told(self, wait_seconds: float | None, *, is_capped: bool = False) -> None:
        """A refused client was told so much."""
        self.told_count += wait_seconds is not None
        self.silent_count += wait_seconds is None
        self.capped_count += is_capped

    def came(self, *, is_let_in: bool, is_early: bool) -> None:
        """A client came back."""
        self._returned(1.0)
        if is_let_in:
            self.let_in_count += 1
        elif is_early:
            self.early_count += 1
        else:
            self.refused_again_count += 1

    def stayed_away(self) -> None:
        """A client did not come."""
        self.away_count += 1
        self._returned(0.0)

    def expect(self, ahead: float, told_at: float, wait_seconds: float) -> None:
        """There is room when `ahead` more have started; told to come after so long."""
        if len(self._expected) < MOST_EXPECTED:
            heapq.heappush(self._expected, (self._started + ahead, told_at, wait_seconds))

    def started(self, count: int, now: float) -> None:
        """So many left the queue."""
        self._started += count
        while self._expected and self._expected[0][0] <= self._started:
            _, told_at, wait = heapq.heappop(self._expected)
            if now > told_at:
                self._errors.append(abs(wait - (now - told_at)) / (now - told_at))

    # -- how good

    def median_error(self) -> float | None:
        """|told - realised| / realised, of recent ones; None before any."""
        return median(self._errors) if self._errors else None

    def second_refusal_ratio(self) -> float | None:
        """Of those that came when told; None before any."""
        came = self.let_in_count + self.refused_again_count
        return self.refused_again_count / came if came else None

    # -- how fast

    def factor(self, model: str) -> float:
        """Real drain by expected, lately; 1 before anything is known."""
        return self._factors.get(model, 1.0)

    def look(self, model: str, expected: Drain, sight: Sight) -> None:
        """Compare what was expected with what came, while requests waited and no replica did."""
        now, look = expected.at, self._looks.get(model)
        if not sight.waiting or sight.starting:
            self._looks.pop(model, None)
            return
        if look is not None and now < look.until:
            return
        seats = sum(one.seats for one in sight.instances if one.state == "ready")
        if look is not None and look.seats == seats and now - look.until < LOOK_SECONDS / 2:
            self._learn(model, look)
        if len(self._looks) > 64:
            self._looks.clear()
            self._factors.clear()
        until = now + LOOK_SECONDS
        self._looks[model] = _Look(until, expected.between(now, until), self._started, seats)

    def _learn(self, model: str, look: _Look) -> None:
        if look.expected < LEAST_STARTED:
            return
        ratio = (self._started - look.started) / look.expected
        known = self._factors.get(model, 1.0)
        made = known * max(ratio, 0.1) ** FACTOR_SHARE
        self._factors[model] = min(max(made, 1 / MOST_FACTOR), MOST_FACTOR)

    def _returned(self, came: float) -> None:
        self.kept_share += RETURN_SHARE * (came - self.kept_share)
