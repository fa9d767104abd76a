"""Tables of the degradation view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from analysis.degradation_read import Read, Watched
from analysis.degradation_words import reason, strength
from analysis.incidents import threshold
from analysis.incidents_found import Incident
from analysis.incidents_signals import MEANINGS, raw_signal
from analysis.trust import ORDER, WHOLE_TARGET

_TIME, _TEXT, _NUMBER = pl.Datetime("us"), pl.String(), pl.Float64()
_MOST_DRAWN = 6
Schema = dict[str, pl.DataType]

INSTANCES: Schema = {
    "instance": _TEXT, "model": _TEXT, "state": _TEXT, "slowdown_factor": _NUMBER,
    "slowdown_factor_low": _NUMBER, "slowdown_factor_high": _NUMBER, "to_peers_factor": _NUMBER,
    "since": _TIME, "resource": _TEXT, "windows": pl.Int64(), "begins_factor": _NUMBER,
    "incident": _TEXT, "why": _TEXT,
}  # fmt: skip
COURSE: Schema = {
    "at": _TIME, "instance": _TEXT, "slowdown_factor": _NUMBER, "requests_decoding": _NUMBER,
    "begins_factor": _NUMBER,
}  # fmt: skip
INCIDENTS: Schema = {
    "incident": _TEXT, "instance": _TEXT, "model": _TEXT, "started_at": _TIME, "ended_at": _TIME,
    "slowdown_factor": _NUMBER, "slowdown_factor_low": _NUMBER, "slowdown_factor_high": _NUMBER,
    "to_peers_factor": _NUMBER, "resource": _TEXT, "strength": _TEXT, "why_unknown": _TEXT,
    "happened": _TEXT, "ending": _TEXT,
}  # fmt: skip
SUSPECTS: Schema = {
    "rank": pl.Int64(), "resource": _TEXT, "place": _TEXT, "signal": _TEXT, "before": _NUMBER,
    "during": _NUMBER, "multiple": _NUMBER, "correlation": _NUMBER, "lead_seconds": _NUMBER,
    "score": _NUMBER, "strength": _TEXT, "trust": _TEXT, "reason": _TEXT,
}  # fmt: skip
HAPPENED: Schema = {"at": _TIME, "kind": _TEXT, "instance": _TEXT, "text": _TEXT}
SIMILAR: Schema = {
    "incident": _TEXT, "instance": _TEXT, "started_at": _TIME, "similarity": _NUMBER,
    "slowdown_factor": _NUMBER, "seconds": _NUMBER, "resource": _TEXT, "ending": _TEXT,
}  # fmt: skip
SHOWN: Schema = {
    "incident": _TEXT, "instance": _TEXT, "started_at": _TIME, "ended_at": _TIME,
    "slowdown_factor": _NUMBER, "why_unknown": _TEXT,
}  # fmt: skip


@dataclass(frozen=True)
class State:
    """How one instance is at the end of the range.

    Attributes:
        watched: which.
        state: "slowed", "healthy" or "unknown".
        incident: that goes on, when slowed.
        windows: bins that were compared, when healthy.
        since: naive UTC, when healthy.
        slowdown: median of the newest bins, when healthy.
        begins: slowdown from which an incident begins.
        why: why unknown.
    """

    watched: Watched
    state: str
    incident: Incident | None = None
    windows: int = 0
    since: datetime | None = None
    slowdown: float | None = None
    begins: float | None = None
    why: str | None = None


def _frame(rows: Sequence[Mapping[str, Any]], schema: Schema) -> pl.DataFrame:
    whole = [{name: row.get(name) for name in schema} for row in rows]
    return pl.DataFrame(whole, schema=schema, orient="row")


def nothing() -> dict[str, pl.DataFrame]:
    """All tables without rows."""
    tables = {
        "instances": INSTANCES, "course": COURSE, "incidents": INCIDENTS, "suspects": SUSPECTS,
        "happened": HAPPENED, "similar": SIMILAR, "shown": SHOWN,
    }  # fmt: skip
    return {name: _frame([], schema) for name, schema in tables.items()}


def instances(states: Sequence[State]) -> pl.DataFrame:
    """One row an instance: the slowest first, then those of which nothing is known."""
    order = {"slowed": 0, "unknown": 1, "healthy": 2}
    rows = [_instance(one) for one in states]
    rows.sort(key=lambda r: (order[r["state"]], -(r["slowdown_factor"] or 0), r["instance"]))
    return _frame(rows, INSTANCES)


def _instance(state: State) -> dict[str, Any]:
    row: dict[str, Any] = {
        "instance": state.watched.instance, "model": state.watched.model, "state": state.state,
        "slowdown_factor": state.slowdown, "since": state.since, "windows": state.windows or None,
        "begins_factor": state.begins, "why": state.why,
    }  # fmt: skip
    if state.incident is not None:
        one = state.incident
        row |= _slowed(one) | {"since": one.started_at, "incident": one.key}
        row["windows"] = one.stretch.last - one.stretch.first + 1
    return row


def _slowed(one: Incident) -> dict[str, Any]:
    return {
        "slowdown_factor": one.slowdown, "slowdown_factor_low": one.low,
        "slowdown_factor_high": one.high,
        "to_peers_factor": one.to_peers, "resource": one.resource,
    }  # fmt: skip


def course(seen: Read, states: Sequence[State]) -> pl.DataFrame:
    """The slowdown over the range of the six instances that were slowest, bin by bin."""
    start = seen.bins - seen.shown_bins
    drawn = []
    for state in states:
        own = state.watched.course
        part = own.slowdown[start:] if own is not None else np.array([])
        known = part[np.isfinite(part)]
        if own is not None and len(known):
            drawn.append((-float(np.quantile(known, 0.95)), state.watched.instance, own))
    rows = [
        {
            "at": seen.at(bin_), "instance": name, "slowdown_factor": float(own.slowdown[bin_]),
            "requests_decoding": float(own.load[bin_]), "begins_factor": threshold(own.spread),
        }
        for _, name, own in sorted(drawn, key=lambda d: d[:2])[:_MOST_DRAWN]
        for bin_ in range(start, seen.bins)
        if np.isfinite(own.slowdown[bin_])
    ]  # fmt: skip
    return _frame(rows, COURSE)


def incidents(found: Sequence[Incident]) -> pl.DataFrame:
    """One row an incident, the newest first."""
    return _frame([_incident(one) for one in found], INCIDENTS)


def _incident(one: Incident) -> dict[str, Any]:
    told = "; ".join(dict.fromkeys(what.text for what in one.happened)) or None
    return {
        "incident": one.key, "instance": one.watched.instance, "model": one.watched.model,
        "started_at": one.started_at, "ended_at": one.ended_at, **_slowed(one),
        "strength": strength(one.suspects[0].score) if one.suspects else None,
        "why_unknown": one.ranking.why_unknown, "happened": told, "ending": one.ending,
    }  # fmt: skip


def raw_names(shown: Incident | None) -> list[str]:
    """Signals of the catalogue behind the suspects of an incident."""
    if shown is None:
        return []
    names = (raw_signal(one.signal.name) for one in shown.suspects)
    return sorted({name for name in names if name is not None})


def suspects(shown: Incident | None, grades: Mapping[tuple[int, str], str]) -> pl.DataFrame:
    """The first suspects of an incident with their evidence; none where nothing can be named."""
    if shown is None:
        return _frame([], SUSPECTS)
    rows = [
        {
            "rank": place, "resource": MEANINGS[one.signal.name].resource,
            "place": one.signal.place, "signal": one.signal.name, "before": one.before,
            "during": one.during, "multiple": one.multiple, "correlation": one.together,
            "lead_seconds": one.lead_seconds, "score": one.score,
            "strength": strength(one.score), "trust": _grade(shown, one.signal.name, grades),
            "reason": reason(one),
        }
        for place, one in enumerate(shown.suspects, start=1)
    ]  # fmt: skip
    return _frame(rows, SUSPECTS)


def _grade(shown: Incident, name: str, grades: Mapping[tuple[int, str], str]) -> str | None:
    """The worst grade of all that told a signal."""
    raw = raw_signal(name)
    told_by = shown.watched.told_by.get(name, frozenset())
    found = [grades[target, raw] for target in told_by if raw and (target, raw) in grades]
    known = [grade for grade in found if grade in ORDER and grade != WHOLE_TARGET]
    return min(known, key=ORDER.index, default=None)


def happened(shown: Incident | None) -> pl.DataFrame:
    """What was done or seen near an incident, the oldest first."""
    rows = [
        {"at": one.at, "kind": one.kind, "instance": one.instance, "text": one.text}
        for one in (shown.happened if shown else ())
    ]
    return _frame(rows, HAPPENED)


def similar(found: Sequence[tuple[float, Incident]]) -> pl.DataFrame:
    """Earlier incidents that looked alike, the likest first."""
    rows = [
        {
            "incident": one.key, "instance": one.watched.instance, "started_at": one.started_at,
            "similarity": alike, "slowdown_factor": one.slowdown,
            "seconds": (one.ended_at - one.started_at).total_seconds() if one.ended_at else None,
            "resource": one.resource, "ending": one.ending,
        }
        for alike, one in found
    ]  # fmt: skip
    return _frame(rows, SIMILAR)


def shown(one: Incident | None) -> pl.DataFrame:
    """The incident that suspects, happenings and similar ones are about."""
    row = None if one is None else _incident(one)
    return _frame([row] if row else [], SHOWN)
