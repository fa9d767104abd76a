"""Which signal comes from which engine here: exact, worked out, quiet, or not told at all.

What an engine can tell stands in its adapter, on the collector's side; the caller hands it over.
What it has told stands in the store. Where the two differ, that is worth knowing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import polars as pl

from analysis.emptiness import why_empty
from analysis.measure import Measure, View
from store.queries import admin as admin_queries
from store.queries import telemetry
from store.queries.scope import Scope
from store.reader import Reader

SCHEMA: dict[str, Any] = {
    "signal": pl.String,
    "engine": pl.String,
    "engine_version": pl.String,
    "state": pl.String,
    "told_by": pl.Int64,
    "targets": pl.Int64,
    "how": pl.String,
}


@dataclass(frozen=True, slots=True)
class SignalSource:
    """What an adapter says about one signal of one release of an engine.

    Attributes:
        state: `exact` (exposed as such), `derived` (worked out) or `absent`.
        how: the exposed families, the formula, or why it is absent.
        note: what to know before trusting it.
        defined_as: what exactly is measured, where engines differ.
    """

    state: Literal["exact", "derived", "absent"]
    how: str
    note: str = ""
    defined_as: str = ""


# Engine and release -> signal -> what the adapter says; empty for an engine without an adapter.
Adapters = Callable[[str, str | None], Mapping[str, SignalSource]]


@dataclass(frozen=True, slots=True)
class _Fleet:
    """The targets of one release of one engine, and how many of them told each signal."""

    engine: str
    version: str | None
    targets: int
    told: Mapping[str, int]


def signal_coverage(reader: Reader, scope: Scope, *, now: datetime, adapters: Adapters) -> View:
    """Every signal of every engine that is connected, by release.

    The time range of the scope plays no part. The frame `signals` has one row for a signal and a
    release: `state` is `exact` or `derived` when at least one target told it, `quiet` when the
    adapter knows it but no target has told it yet, `absent` when the engine does not tell it.

    Args:
        reader: the store.
        scope: only named in the result.
        now: the moment at which targets are connected; aware.
        adapters: what each release of an engine can tell.
    """
    fleets = _fleets(reader, now)
    rows = [row for fleet in fleets for row in _rows(fleet, adapters)]
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return View(
        "signal_coverage",
        scope,
        _measures(frame),
        {"signals": frame},
        (*_incomparable(fleets, adapters), *(_sentence(fleet, frame) for fleet in fleets)),
        None if rows else why_empty(reader, scope),
    )


def _fleets(reader: Reader, now: datetime) -> list[_Fleet]:
    """The connected targets by engine and release."""
    told_by: dict[int, set[str]] = {}
    for target_id, signal in admin_queries.signals(reader).iter_rows():
        told_by.setdefault(target_id, set()).add(signal)
    groups: dict[tuple[str, str | None], list[int]] = {}
    for row in telemetry.targets(reader, now).iter_rows(named=True):
        if row["engine"]:
            key = (row["engine"], row["engine_version"])
            groups.setdefault(key, []).append(row["target_id"])
    return [
        _Fleet(engine, version, len(ids), _counts(told_by.get(one, set()) for one in ids))
        for (engine, version), ids in sorted(groups.items(), key=lambda item: str(item[0]))
    ]


def _counts(signals: Iterable[Iterable[str]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for told in signals:
        for signal in told:
            counts[signal] = counts.get(signal, 0) + 1
    return counts


def _rows(fleet: _Fleet, adapters: Adapters) -> list[tuple[Any, ...]]:
    return [
        (
            signal,
            fleet.engine,
            fleet.version,
            _state(source, fleet.told.get(signal, 0)),
            fleet.told.get(signal, 0),
            fleet.targets,
            ". ".join(filter(None, (source.how, source.note))),
        )
        for signal, source in adapters(fleet.engine, fleet.version).items()
    ]


def _state(source: SignalSource, told: int) -> str:
    if not told:
        return "absent" if source.state == "absent" else "quiet"
    # Told against the adapter's word: an older release behind a newer number, or a mixed page.
    return "exact" if source.state == "absent" else source.state


def _incomparable(fleets: Sequence[_Fleet], adapters: Adapters) -> Iterator[str]:
    """Signals that several engines tell, but of which they measure different things."""
    meanings: dict[str, dict[str, set[str]]] = {}
    for fleet in fleets:
        for signal, source in adapters(fleet.engine, fleet.version).items():
            if signal in fleet.told and source.defined_as:
                by_meaning = meanings.setdefault(signal, {})
                by_meaning.setdefault(source.defined_as, set()).add(fleet.engine)
    for signal, by_meaning in meanings.items():
        if len(by_meaning) > 1:
            told = "; ".join(
                f"{', '.join(sorted(engines))}: {text}" for text, engines in by_meaning.items()
            )
            yield f"{signal} does not compare between engines ({told})."


def _measures(frame: pl.DataFrame) -> dict[str, Measure]:
    told = frame.filter(pl.col("told_by") > 0)
    return {
        "signals_told": Measure(float(told["signal"].n_unique()), "signals"),
        "signals_quiet": Measure(float(frame.filter(pl.col("state") == "quiet").height), "signals"),
    }


def _sentence(fleet: _Fleet, frame: pl.DataFrame) -> str:
    mine = frame.filter(
        (pl.col("engine") == fleet.engine) & pl.col("engine_version").eq_missing(fleet.version)
    )
    name = " ".join(filter(None, (fleet.engine, fleet.version)))
    if mine.is_empty():
        return f"There is no adapter for {name}: nothing is known about its signals."
    count = {state: mine.filter(pl.col("state") == state).height for state in _STATES}
    quiet = f", {count['quiet']} more when they happen" if count["quiet"] else ""
    return (
        f"{name} tells {count['exact']} signals exactly and {count['derived']} worked out{quiet}; "
        f"{count['absent']} it does not tell."
    )


_STATES = ("exact", "derived", "quiet", "absent")
