"""The grades in force of one target: a row only where something changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from collector.trust.grades import Grade, GradeChange, TrustSettings, Verdict

# Grades about one moment: the next scrape looks well again, but the moment matters for a while.
_MOMENTS = frozenset({"reset", "sum_fell", "processes"})
# After so many changes in quick succession a signal is well again only when it stays so.
_FLAPPING = 6
# Grades that only a look over some time can give, and take back.
_SLOW: frozenset[Grade] = frozenset({"frozen", "two_scrapers", "partial", "idle"})


@dataclass(slots=True)
class _Held:
    verdict: Verdict
    last_seen_at: datetime
    since: datetime
    seeded: bool = False
    flips: int = 0


class Standing:
    """What holds for each signal of a target.

    Args:
        target_id: whose.
        settings: how long moments are held.
        seeds: what held when an earlier process ended: signal -> grade and since when.
    """

    def __init__(
        self,
        target_id: int,
        settings: TrustSettings,
        seeds: Mapping[str, tuple[Verdict, datetime]] | None = None,
    ) -> None:
        self._target_id = target_id
        self._settings = settings
        self._held = {
            signal: _Held(verdict, at, at, seeded=True)
            for signal, (verdict, at) in (seeds or {}).items()
        }

    def grade(self, signal: str) -> Grade | None:
        """What holds for a signal; None when it was never seen."""
        held = self._held.get(signal)
        return held.verdict.grade if held else None

    def absent_since(self, signal: str, now: datetime) -> datetime:
        """Since when a signal is missing; now when it was there until now."""
        held = self._held.get(signal)
        return held.since if held is not None and held.verdict.grade == "absent" else now

    def signals(self) -> Iterable[str]:
        """Every signal that was ever graded."""
        return self._held.keys()

    def settle(
        self, signal: str, verdict: Verdict, at: datetime, *, settled: bool = True
    ) -> GradeChange | None:
        """Take in a verdict; the row to write when it changes what holds.

        Args:
            signal: which.
            verdict: what this look says.
            at: time of the look.
            settled: whether this process has seen enough to take back a grade that an earlier one
                found out over time.
        """
        held = self._held.get(signal)
        if held is None:
            self._held[signal] = _Held(verdict, at, at)
            return GradeChange(self._target_id, signal, at, verdict)
        if self._keeps(held, verdict, at, settled):
            return None
        same = held.verdict.grade == verdict.grade
        if same and (held.seeded or held.verdict.cause == verdict.cause):
            held.verdict, held.last_seen_at = verdict, at
            held.seeded = False
            return None
        soon = (at - held.last_seen_at).total_seconds() < self._settings.held_seconds
        self._held[signal] = _Held(verdict, at, at, flips=held.flips + 1 if soon else 0)
        return GradeChange(self._target_id, signal, at, verdict)

    def _keeps(self, held: _Held, verdict: Verdict, at: datetime, settled: bool) -> bool:
        """Whether what holds outlasts a look that finds nothing wrong."""
        if verdict.grade not in ("fresh", "idle"):
            return False
        standing = held.verdict
        flaps = held.flips >= _FLAPPING and standing.grade not in ("fresh", "idle")
        if flaps or standing.grade == "reset" or standing.cause in _MOMENTS:
            return (at - held.last_seen_at).total_seconds() < self._settings.held_seconds
        return held.seeded and not settled and standing.grade in _SLOW
