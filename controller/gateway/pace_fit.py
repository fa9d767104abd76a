"""How fast one replica is, learnt from what it did: a robust regression that forgets, pure.

Every request tells of two stretches of time: until its first token, and from there to its last. In
each of them the replica did work that the gateway can count:

    seconds = prompt tokens x prompt_token_seconds
            + steps x step_seconds
            + sequences x steps x sequence_seconds
            + 1, in the first stretch, x request_seconds

The last is what a request costs beside all that (network, tokenizer, the rest of a step that goes
on): without it, short prompts would make prompt tokens look slow.

Errors count as shares of what was expected, so that a long answer weighs no more than a short one;
large ones count less than their size (Huber). What is old is forgotten by half each
`half_life_seconds`. After the first rows nothing is kept but sums: about 1 KB a replica.

Source: recursive least squares with exponential forgetting, as in Ljung, System Identification,
1999, chapter 11; Huber, Robust Estimation of a Location Parameter, 1964.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from controller.gateway.estimates import TYPICAL_PACE
from controller.gateway.fleet import Pace
from controller.gateway.least_squares import FadingSums, inverse
from controller.gateway.pace_terms import Work, seconds_of

TERMS = 4
_HUBER = 1.5
_LEAST_SPREAD, _MOST_SPREAD = 0.02, 1.0
_SPREAD_STEP = 1.05
_MEDIAN_TO_DEVIATION = 1.4826
_FIRST_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """How a pace is learnt.

    Attributes:
        half_life_seconds: after which a row counts half.
        most_idle_seconds: between two rows, of which time is counted: a quiet night forgets
            nothing.
        first_rows: before anything is said.
        kept_rows: of the first, which are fitted anew as a whole each time that they have doubled:
            what is begun badly would last for minutes.
        solve_seconds: between two solutions; rows are summed at once.
        most_error_ratio: of the share that a coefficient has in the seconds of a row (one standard
            error); a pace with more is unknown.
        pull_rows: so many rows' worth holds each coefficient to what is thought of it already.
    """

    half_life_seconds: float = 60.0
    most_idle_seconds: float = 2.0
    first_rows: int = 32
    kept_rows: int = 128
    solve_seconds: float = 0.25
    most_error_ratio: float = 0.035
    pull_rows: float = 1.0


class PaceFit:
    """See the head of this module.

    Args:
        limits: how.

    Attributes:
        pace: None until enough was seen; never unknown again after.
        rows: that were learnt from.
        ignored: rows that made no sense.
    """

    def __init__(self, limits: PaceLimits | None = None) -> None:
        self.limits = limits or PaceLimits()
        self.pace: Pace | None = None
        self.rows = self.ignored = 0
        self._guess: Sequence[float] = ()
        self._first: list[Work] | None = []
        self._next = self.limits.first_rows
        self._sums = FadingSums(TERMS)
        self._spread = _MOST_SPREAD
        self._found: list[float] | None = None
        self._at = -math.inf

    def saw(self, works: Sequence[Work], now: float, like: Pace | None = None) -> None:
        """Learn of what one request was part of.

        Args:
            works: the stretches of one request.
            now: seconds of the gateway's clock.
            like: what replicas of its kind are like; None is unknown.
        """
        sane = [work for work in works if work.is_sane]
        self.ignored += len(works) - len(sane)
        if not sane:
            return
        self.rows += len(sane)
        if self._first is not None:
            self._first += sane
            if len(self._first) >= self._next:
                self._begin(self._first, like)
                return
        if self._found is not None:
            for work in sane:
                self._add(work, self._found)
            if now - self._at >= self.limits.solve_seconds:
                self._forget(now)
                self._settle()

    # -- inside

    def _forget(self, now: float) -> None:
        passed = min(max(now - self._at, 0.0), self.limits.most_idle_seconds)
        self._at = max(now, self._at)
        self._sums.fade(0.5 ** (passed / self.limits.half_life_seconds))

    def _begin(self, rows: list[Work], like: Pace | None) -> None:
        """The first rows together: those that fit the others badly count less, round by round."""
        self._next = 2 * len(rows)
        if self._next > self.limits.kept_rows:
            self._first = None
        self._guess = _guess(rows, like)
        sizes, weights = [work.seconds for work in rows], [1.0] * len(rows)
        for _ in range(_FIRST_ROUNDS):
            self._sums = FadingSums(TERMS)
            for work, size, weight in zip(rows, sizes, weights, strict=True):
                self._sum(work, size, weight)
            found = self._solve()
            if found is None:
                self._first, self._next = [], self.limits.first_rows
                return
            self._found = found
            sizes = [_size(work, found) for work in rows]
            off = [abs(work.seconds / size - 1) for work, size in zip(rows, sizes, strict=True)]
            self._spread = _bounded(sorted(off)[len(off) // 2])
            weights = [self._trust(one) for one in off]
        self._settle()

    def _add(self, work: Work, found: Sequence[float]) -> None:
        size = _size(work, found)
        off = abs(work.seconds / size - 1)
        self._sum(work, size, self._trust(off))
        # Steps up and down that are equally likely at the median.
        step = _SPREAD_STEP if off > self._spread else 1 / _SPREAD_STEP
        self._spread = _bounded(self._spread * step)

    def _trust(self, off: float) -> float:
        """Huber's weight of a row that is off by such a share."""
        most = _HUBER * _MEDIAN_TO_DEVIATION * self._spread
        return 1.0 if off <= most else most / off

    def _sum(self, work: Work, size: float, weight: float) -> None:
        self._sums.add([count / size for count in work.row], work.seconds / size, weight)

    def _settle(self) -> None:
        found = self._solve()
        if found is not None:
            self._found = found
            if self.pace is not None or self._is_sure():
                self.pace = Pace(*found)

    def _solve(self) -> list[float] | None:
        """Pulled a little to what was found before, else to what replicas of its kind are like."""
        thought = self._found if self._found is not None else self._guess
        return self._sums.solved(thought, self.limits.pull_rows)

    def _is_sure(self) -> bool:
        """Whether prompts and steps are known well enough apart from each other.

        Steps and sequences need not be: where as many always run, nobody can tell them apart, and
        what is thought of their ratio stays.
        """
        scales, known = self._sums.scales(), inverse(self._sums.scaled(self.limits.pull_rows))
        if known is None or not (scales[0] and scales[1]):
            return False
        variance = (_MEDIAN_TO_DEVIATION * self._spread) ** 2 / self._sums.weight
        step = known[1][1] + known[2][2] + 2 * known[1][2]
        return variance * max(known[0][0], step) <= self.limits.most_error_ratio**2


def _guess(rows: Sequence[Work], like: Pace | None) -> list[float]:
    """What a replica may be like before anything is learnt of it: its peers, else usual ratios."""
    pace, factor = like or TYPICAL_PACE, 1.0
    if like is None:
        ratios = sorted(work.seconds / max(seconds_of(pace, work), 1e-9) for work in rows)
        factor = ratios[len(ratios) // 2]
    return [factor * term for term in pace.terms]


def _size(work: Work, found: Sequence[float]) -> float:
    """Seconds that were expected, never so few that one row would count for all."""
    expected = sum(count * each for count, each in zip(work.row, found, strict=True))
    return max(expected, work.seconds / 100, 1e-6)


def _bounded(spread: float) -> float:
    return min(max(spread, _LEAST_SPREAD), _MOST_SPREAD)
