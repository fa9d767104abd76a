"""The streaming grader of one target: scrapes in, changed grades out. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from collector.model import Scrape
from collector.trust import answers, impossible, presence, scrapers, traffic
from collector.trust.grades import (
    CLOCK,
    WHOLE_TARGET,
    Grade,
    GradeChange,
    TrustSettings,
    Verdict,
)
from collector.trust.memory import Memory
from collector.trust.standing import Standing
from collector.trust.step import Step, step

Seeds = Mapping[str, tuple[Verdict, datetime]]

_PLAUSIBLE = Verdict("fresh", "It is on the page and plausible.")
_RATES = "Compute no rate across this moment; counters count from zero since."
_IN_TURNS = "Several processes answer at this address in turns, each with its own counters."
_EACH = (
    "Scrape each worker at an address of its own, or let them share their metrics (multiprocess)."
)
# A release may drop a signal for good: after this long it is missed no more.
_MISSED_FOR = timedelta(hours=24)
# A scrape interval is not known before the second scrape.
_USUAL_SECONDS = 5.0
_STALE_INTERVALS = 3.0
_FEWEST_STALE_SECONDS = 15.0


class TargetGrader:
    """Grades one target.

    Args:
        target_id: which.
        settings: when what counts as what.
        seeds: what held when an earlier process ended, so that a restart of ours is no change.
    """

    def __init__(
        self, target_id: int, settings: TrustSettings | None = None, seeds: Seeds | None = None
    ) -> None:
        self._settings = settings or TrustSettings()
        self._standing = Standing(target_id, self._settings, seeds)
        self._memory = Memory()
        self._last_at: datetime | None = None
        # What an earlier process graded is not graded again when an agent sends it late.
        self._graded_until = max((at for _, at in (seeds or {}).values()), default=None)
        self._interval_seconds = _USUAL_SECONDS

    @property
    def last_at(self) -> datetime | None:
        """When the target was asked last."""
        return self._last_at

    def grade(self, scrape: Scrape, twin: Verdict | None = None) -> list[GradeChange]:
        """The grades that this scrape changes; none for one that is not newer than the last.

        Args:
            scrape: what came.
            twin: the verdict when this target is a second entry of another one.
        """
        if self._graded_until is not None and scrape.at <= self._graded_until:
            return []
        if self._last_at is not None:
            gap = (scrape.at - self._last_at).total_seconds()
            if gap <= 0:
                return []
            self._interval_seconds = gap
        self._last_at = scrape.at
        found = self._page(scrape, twin) if scrape.outcome == "ok" else self._no_page(scrape)
        return [change for change in found if change is not None]

    def overdue(self, now: datetime) -> list[GradeChange]:
        """The change when nothing has come from the target for three intervals."""
        if self._last_at is None:
            return []
        silence = (now - self._last_at).total_seconds()
        if silence < max(_STALE_INTERVALS * self._interval_seconds, _FEWEST_STALE_SECONDS):
            return []
        changed = self._standing.settle(WHOLE_TARGET, answers.no_scrape(silence), now)
        return [changed] if changed else []

    def _no_page(self, scrape: Scrape) -> Iterator[GradeChange | None]:
        # What the signals said keeps its grades: the grade of the target stands above them.
        self._memory.unbroken = False
        verdict = answers.no_page(scrape, self._memory.last_at)
        yield self._standing.settle(WHOLE_TARGET, verdict, scrape.at)

    def _page(self, scrape: Scrape, twin: Verdict | None) -> Iterator[GradeChange | None]:
        now = step(scrape, self._memory, self._settings)
        verdicts = dict(self._signals(now))
        gone = [
            signal
            for signal, told in verdicts.items()
            if told.cause == "gone"
            and scrape.at - self._standing.absent_since(signal, scrape.at) < _MISSED_FOR
        ]
        whole = twin or _whole(now, gone)
        settled = self._settled(now)
        standing = self._standing
        for signal in sorted(now.signals | verdicts.keys()):
            verdict = verdicts.get(signal, _PLAUSIBLE)
            done = settled.get(standing.grade(signal), True)
            yield standing.settle(signal, verdict, scrape.at, settled=done)
        whole_grade = standing.grade(WHOLE_TARGET)
        done = settled.get(whole_grade, True)
        if whole_grade == "partial":
            done = all(standing.grade(signal) != "partial" for signal in now.signals)
        yield standing.settle(WHOLE_TARGET, whole, scrape.at, settled=done)
        self._memory.take(
            scrape,
            self._settings.most_series,
            worked=bool(now.worked),
            restarted=now.restarted,
        )

    def _signals(self, now: Step) -> Iterator[tuple[str, Verdict]]:
        """What is not fresh, the weightier reason last."""
        known = [name for name in self._standing.signals() if name not in (WHOLE_TARGET, CLOCK)]
        yield from presence.absent(now, known)
        yield from presence.ranks_missing(now)
        yield from traffic.frozen(now)
        if not now.restarted:
            yield from _resets(now)
        yield from scrapers.two_scrapers(now)
        yield from impossible.contradicting(now)
        yield from impossible.shape(now)
        yield from impossible.sums(now)
        yield from impossible.refused(now)
        yield from impossible.clock(now)

    def _settled(self, now: Step) -> dict[Grade | None, bool]:
        """Whether this process has seen enough to take back what an earlier one found over time."""
        first = self._memory.first_at
        watched = 0.0 if first is None else (now.scrape.at - first).total_seconds()
        long = watched >= self._settings.frozen_after_seconds or now.restarted
        return {
            "frozen": long or traffic.gauges_moved(now),
            "idle": long or bool(now.worked) or traffic.waiting_or_running(now) > 0,
            # How many ranks there should be is not known any more: more than now, or a new start.
            "partial": now.restarted or _ranks_came(now),
            "two_scrapers": long,
        }


def _ranks_came(now: Step) -> bool:
    known = now.memory.parts
    return any(parts > known.get(name, parts) for name, parts in now.notes.parts.items())


def _whole(now: Step, gone: list[str]) -> Verdict:
    """The verdict on the target: the weightiest of what is true of the page as a whole."""
    if now.alternates:
        return Verdict("impossible", _IN_TURNS, _EACH, "processes")
    if now.restarted:
        return Verdict("reset", _restart_text(now), _RATES)
    stands = traffic.page_frozen(now)
    partial = presence.page_partial(now, gone)
    quiet = traffic.idle(now)
    fresh = Verdict("fresh", f"It answers with {len(now.signals)} signals.")
    return stands or partial or quiet or fresh


def _restart_text(now: Step) -> str:
    fell = [f"{name} from {old:g} to {new:g}" for name, (old, new) in sorted(now.fell.items())]
    told = f": {', '.join(fell[:2])}" if fell else ""
    return f"The process behind the page started again{told}."


def _resets(now: Step) -> Iterator[tuple[str, Verdict]]:
    """Single signals that started again while the process went on."""
    for signal, (old, new) in now.fell.items():
        text = f"The counter went down from {old:g} to {new:g}."
        yield signal, Verdict("reset", text, _RATES)
    for signal in now.broken:
        text = "A bucket or the count of the histogram went down, so all of it started again."
        yield signal, Verdict("reset", text, _RATES)
