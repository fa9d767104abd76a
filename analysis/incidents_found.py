"""Incidents of a fleet with their suspects, what was done near them, and how they ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from analysis.degradation_pace import Course, beside_peers
from analysis.degradation_read import Read, Watched
from analysis.incidents import Stretch, ratio, stretches, threshold
from analysis.incidents_signals import MEANINGS, case
from analysis.root_cause.ranking import Ranking, Suspect, rank

# The newest; each is ranked, which takes some 20 ms.
MOST_INCIDENTS = 60
MOST_SUSPECTS = 8
# Suspects below this score are not worth anybody's time.
LEAST_SHOWN = 0.05
# From this cosine of their suspects' scores on, two incidents count as similar.
SIMILAR_FROM = 0.7
_NEAR = timedelta(minutes=5)
GOING_ON, SILENT, BY_ITSELF = "going on", "nothing was told any more", "recovered by itself"
AFTER_RESTART, AFTER_SCALING = "recovered after a restart", "recovered after a change of replicas"


@dataclass(frozen=True)
class Happened:
    """Something that was done or seen near an incident.

    Attributes:
        at: naive UTC.
        text: what, in a few words.
        kind: "restart", "scaling" or "fault".
        instance: whom it was about; None is everybody.
    """

    at: datetime
    text: str
    kind: str
    instance: str | None = None


@dataclass(frozen=True)
class Incident:
    """One instance, slower than it used to be at its load, for a while.

    Attributes:
        key: instance and start, as an address writes it.
        watched: the instance.
        stretch: its bins.
        started_at: naive UTC.
        ended_at: naive UTC; None while it goes on.
        slowdown: median pace over the expected one.
        low: of its 95 % interval.
        high: of its 95 % interval.
        to_peers: pace over that of same-model peers at equal load; None where there was none.
        ranking: suspects.
        happened: what was done near it.
        ending: how it ended.
    """

    key: str
    watched: Watched
    stretch: Stretch
    started_at: datetime
    ended_at: datetime | None
    slowdown: float
    low: float
    high: float
    to_peers: float | None
    ranking: Ranking
    happened: Sequence[Happened] = ()
    ending: str = GOING_ON

    @property
    def is_going_on(self) -> bool:
        """Whether it goes on at the end of what was read."""
        return self.ending == GOING_ON

    @property
    def suspects(self) -> Sequence[Suspect]:
        """Those worth showing; none where nothing can be named."""
        if self.ranking.why_unknown is not None:
            return ()
        first = self.ranking.suspects[:MOST_SUSPECTS]
        return [one for one in first if one.score >= LEAST_SHOWN]

    @property
    def resource(self) -> str:
        """Of the first suspect, or "unknown"."""
        return MEANINGS[self.suspects[0].signal.name].resource if self.suspects else "unknown"


def found(read: Read, events: Sequence[Happened]) -> tuple[list[Incident], int]:
    """Incidents of what was read, the newest `MOST_INCIDENTS` first, and how many reach in all.

    Those are counted that reach into the range shown.
    """
    everybody = [*read.watched, *read.others]
    made = [
        (watched, watched.course, stretch)
        for watched in read.watched
        if watched.course is not None
        for stretch in stretches(watched.course.slowdown, threshold(watched.course.spread))
    ]
    newest = sorted(made, key=lambda part: (-part[2].first, part[0].instance))[:MOST_INCIDENTS]
    reaching = sum(stretch.last >= read.bins - read.shown_bins for _, _, stretch in made)
    return [
        _ended(_incident(read, watched, own, stretch, everybody), events)
        for watched, own, stretch in newest
    ], reaching


def _incident(
    read: Read, watched: Watched, own: Course, stretch: Stretch, everybody: Sequence[Watched]
) -> Incident:
    part = slice(stretch.first, stretch.last + 1)
    middle, low, high = ratio(own.slowdown, part)
    peers = [
        one.course
        for one in everybody
        if one.course is not None and one is not watched and one.model == watched.model
    ]
    others = np.zeros(read.bins, dtype=bool)
    for other in stretches(own.slowdown, threshold(own.spread)):
        if other.first != stretch.first:
            others[other.first : other.last + 1] = True
    table = case(
        watched.instance, watched.machine, own.slowdown, watched.signals,
        float(read.step_seconds), stretch.first, stretch.last, others,
    )  # fmt: skip
    started = read.at(stretch.first)
    is_over = stretch.ending != "going on"
    return Incident(
        key=f"{watched.instance}@{started:%Y-%m-%dT%H:%M:%S}",
        watched=watched,
        stretch=stretch,
        started_at=started,
        ended_at=read.at(stretch.last + 1) if is_over else None,
        slowdown=middle,
        low=low,
        high=high,
        to_peers=beside_peers(own, peers, part),
        ranking=rank(table),
    )


def _ended(incident: Incident, events: Sequence[Happened]) -> Incident:
    ended = incident.ended_at
    near = [
        one
        for one in events
        if one.instance in (None, incident.watched.instance)
        and incident.started_at - _NEAR <= one.at
        and (ended is None or one.at <= ended + _NEAR)
    ]
    during = {one.kind for one in near if one.at >= incident.started_at}
    if incident.stretch.ending == "going on":
        ending = GOING_ON
    elif "restart" in during:
        ending = AFTER_RESTART
    elif incident.stretch.ending == "silent":
        ending = SILENT
    else:
        ending = AFTER_SCALING if "scaling" in during else BY_ITSELF
    return replace(incident, happened=near, ending=ending)


def pattern(incident: Incident) -> Mapping[str, float]:
    """Scores of the suspects by signal: what an incident looked like."""
    return {one.signal.name: one.score for one in incident.ranking.suspects}


def similarity(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Cosine of two patterns, 0 to 1; 0 where either is empty."""
    names = sorted({*one, *other})
    a, b = (np.array([side.get(name, 0.0) for name in names]) for side in (one, other))
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def similar(shown: Incident, others: Sequence[Incident]) -> list[tuple[float, Incident]]:
    """Other incidents that began earlier and looked alike, the likest first."""
    mine = pattern(shown)
    scored = [
        (similarity(mine, pattern(one)), one)
        for one in others
        if one.key != shown.key and one.started_at <= shown.started_at
    ]
    return sorted((pair for pair in scored if pair[0] >= SIMILAR_FROM), key=lambda p: -p[0])
