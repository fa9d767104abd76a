"""Degradation: who is slower than it used to be, since when, by what, and how such ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

import numpy as np

from analysis import degradation_frames as frames
from analysis.degradation_pace import LEAST_AT_LOAD
from analysis.degradation_read import Read, Watched, read
from analysis.degradation_words import MOST_SENTENCES, sentence
from analysis.emptiness import why_empty
from analysis.incidents import SILENT_BINS, threshold
from analysis.incidents_found import Happened, Incident, found, similar
from analysis.measure import Empty, Measure, View
from analysis.trust import usable
from store.errors import InputError
from store.queries import control_marks
from store.queries import forecasts as forecast_queries
from store.queries.faults import gpu_faults
from store.queries.restarts import restarts
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.reader import Reader
from store.units import counted, seconds_text

_TRACE = "A trace records requests, not the pace of the engines that served them over time."
_NO_PACE = (
    "No connected engine tells how long a token takes. Needed are generation_tokens_total and "
    "requests_running (or decode_busy_seconds_total); Admin shows which engine tells what."
)


def degradation(reader: Reader, scope: Scope, *, incident: str = "") -> View:
    """Instances that are slower than they used to be at their load, and why that may be.

    Slowdown is seconds of decoding per token over the median of the same instance at about as many
    requests (see `analysis.degradation_pace`): a comparison, not a cause.

    Options: `incident` (a key of the frame `incidents`; the newest that goes on by default, else
    the newest).

    Measures: instances, slowed, healthy, unknown, incidents, worst_slowdown.
    Frames: `instances`, `course`, `incidents`, `suspects` and `happened` of the incident shown,
    `similar` incidents of the range and six hours before it, `shown`, `estimates` of the trained
    model (`store.queries.forecasts.states`). Columns: `analysis.degradation_frames`.

    Raises:
        InputError: there is no such incident in the range.
    """
    if LIVE_SOURCE_ID not in scope.source_ids:
        return _nothing(scope, Empty("metric_absent", _TRACE))
    seen = read(reader, scope)
    if not any(one.course for one in seen.watched):
        return _nothing(scope, _why_empty(reader, scope, seen))
    known, reaching = found(seen, _events(reader, scope, seen))
    incidents = [one for one in known if one.stretch.last >= seen.bins - seen.shown_bins]
    shown = _shown(incidents, known, incident)
    states = [_state(seen, one, known) for one in seen.watched]
    grades = _grades(reader, scope, shown)
    made = {
        "instances": frames.instances(states),
        "course": frames.course(seen, states),
        "incidents": frames.incidents(incidents),
        "suspects": frames.suspects(shown, grades),
        "happened": frames.happened(shown),
        "similar": frames.similar(similar(shown, known) if shown else []),
        "shown": frames.shown(shown),
        "estimates": forecast_queries.states(reader, scope),
    }
    return View("degradation", scope, _measures(states, incidents, reaching), made,
                _sentences(states, incidents), totals={"incidents": reaching})  # fmt: skip


def _nothing(scope: Scope, empty: Empty) -> View:
    why = "no instance told its pace in this range"
    measures = {"instances": Measure(0.0, "")} | {
        name: Measure(None, "", why=why)
        for name in ("slowed", "healthy", "unknown", "incidents", "worst_slowdown")
    }
    return View("degradation", scope, measures, frames.nothing(), (), empty)


def _why_empty(reader: Reader, scope: Scope, seen: Read) -> Empty:
    empty = why_empty(reader, scope, "instance")
    if empty is not None and (empty.kind == "nothing_connected" or not seen.has_targets):
        return empty
    return Empty("metric_absent", _NO_PACE)


def _events(reader: Reader, scope: Scope, seen: Read) -> list[Happened]:
    """Restarts, changes of replicas and faults of cards, the oldest first."""
    start = seen.at(0).replace(tzinfo=UTC)
    named = {one.target_id: one.instance for one in seen.watched}
    made = [
        Happened(at, "restarted", "restart", named[target])
        for target, times in restarts(reader, start, scope.end).items()
        if target in named
        for at in times
    ]
    naive = (start.replace(tzinfo=None), scope.end.replace(tzinfo=None))
    for row in control_marks.scalings(reader, *naive).iter_rows(named=True):
        text = f"{row['pool']} was set to {row['after_replicas']} replicas by {row['changed_by']}"
        made.append(Happened(row["at"], text, "scaling"))
    for row in gpu_faults(reader, start, scope.end).iter_rows(named=True):
        text = f"{row['node']}, card {row['gpu']}: {row['text']}"
        made += [
            Happened(row["started_at"], text, "fault", one.instance)
            for one in seen.watched
            if row["node"] in (one.machine, one.instance.partition(":")[0])
        ]
    return sorted(made, key=lambda one: (one.at, one.text))


def _shown(
    incidents: Sequence[Incident], known: Sequence[Incident], wanted: str
) -> Incident | None:
    for one in known:
        if one.key == wanted:
            return one
    if wanted:
        names = ", ".join(one.key for one in known[:5]) or "none"
        raise InputError(f"no incident '{wanted}' in this range", hint=f"there are: {names}")
    ongoing = [one for one in incidents if one.is_going_on]
    return next(iter([*ongoing, *incidents]), None)


def _state(seen: Read, watched: Watched, incidents: Sequence[Incident]) -> frames.State:
    own = watched.course
    if own is None:
        return frames.State(watched, "unknown", why="it tells no time per token")
    now = next((i for i in incidents if i.watched is watched and i.is_going_on), None)
    if now is not None:
        return frames.State(watched, "slowed", incident=now)
    known = np.flatnonzero(np.isfinite(own.slowdown))
    written = np.flatnonzero(np.isfinite(own.pace))
    if not len(known) or seen.bins - 1 - int(known[-1]) > SILENT_BINS:
        return frames.State(watched, "unknown", why=_why_unknown(seen, own.expected_bins, written))
    newest = own.slowdown[known[-LEAST_AT_LOAD:]]
    over = [i for i in incidents if i.watched is watched and i.ended_at is not None]
    since = over[0].ended_at if over else seen.at(int(known[0]))
    return frames.State(
        watched, "healthy", windows=len(known), since=since, slowdown=float(np.median(newest)),
        begins=threshold(own.spread),
    )  # fmt: skip


def _why_unknown(seen: Read, expected: int, written: np.ndarray[Any, Any]) -> str:
    if not len(written):
        return "it wrote nothing in this time"
    silent = (seen.bins - 1 - int(written[-1])) * seen.step_seconds
    if silent > SILENT_BINS * seen.step_seconds:
        return f"it wrote nothing for {seconds_text(float(silent))}"
    return (
        f"{counted(expected, 'window')} of {seen.step_seconds} s at its load of now: too few, "
        f"{LEAST_AT_LOAD} are needed"
    )


def _grades(reader: Reader, scope: Scope, shown: Incident | None) -> Mapping[tuple[int, str], str]:
    """How far each signal behind the suspects can be trusted at the end of the range."""
    names = frames.raw_names(shown)
    if not names:
        return {}
    return {(one.target_id, one.signal): one.grade for one in usable(reader, names, scope.end)}


def _measures(
    states: Sequence[frames.State], incidents: Sequence[Incident], reaching: int
) -> dict[str, Measure]:
    counts = {
        name: sum(one.state == name for one in states) for name in ("slowed", "healthy", "unknown")
    }
    going_on = [one for one in incidents if one.is_going_on]
    worst = max(going_on, key=lambda one: one.slowdown, default=None)
    return {
        "instances": Measure(float(len(states)), ""),
        **{name: Measure(float(count), "") for name, count in counts.items()},
        "incidents": Measure(float(reaching), "", why="that reach into the range"),
        "worst_slowdown": Measure(None, "x", why="no instance is slowed now")
        if worst is None
        else Measure(worst.slowdown, "x", worst.low, worst.high, why=worst.watched.instance),
    }


def _sentences(states: Sequence[frames.State], incidents: Sequence[Incident]) -> tuple[str, ...]:
    going_on = sorted((one for one in incidents if one.is_going_on), key=lambda one: -one.slowdown)
    if going_on:
        return tuple(sentence(one) for one in going_on[:MOST_SENTENCES])
    healthy = [one for one in states if one.state == "healthy"]
    unknown = len(states) - len(healthy)
    rest = f" Of {unknown} nothing can be said." if unknown else ""
    if not healthy:
        who = states[0].watched.instance if unknown == 1 else f"any of {unknown} instances"
        return (f"Whether {who} is slowed is unknown: {states[0].why}.",)
    since = max(one.since for one in healthy if one.since is not None)
    windows = sum(one.windows for one in healthy)
    many = (
        f"All {len(healthy)} instances keep the usual pace of their load"
        if len(healthy) > 1
        else f"{healthy[0].watched.instance} keeps the usual pace of its load"
    )
    return (f"{many} since {since:%d %b %H:%M} UTC ({counted(windows, 'window')}).{rest}",)
