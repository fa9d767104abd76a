"""Counts of good and bad requests of objectives, from request rows or from engines' histograms."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl

from analysis.slo_buckets import count_buckets
from analysis.slo_counts import Counted
from analysis.slo_model import Slo
from analysis.slo_window import reach_seconds as reach_of
from analysis.slo_window import window_of
from store.queries import slo as slo_queries
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.queries.slo import GoodRule
from store.queries.slo_cells import Cells, read_cells
from store.queries.slo_plan import Stretch
from store.reader import Reader

HOUR_SECONDS = 3600.0
# What comes is told from the pace of so long, and what went from the same.
PROJECTION_SECONDS = 6 * HOUR_SECONDS
MOST_BINS = 50_000
# Windows that are exact back in time: each costs a look at the rows of one bucket.
MOST_EDGES = 12
UNCOUNTED = (
    "still being counted: it is new, and reading all of its requests took too long;"
    " look again in a few minutes"
)


def applicable(
    reader: Reader, slos: Sequence[Slo], scope: Scope, ids: Mapping[str, int] | None = None
) -> list[Slo]:
    """The SLOs that are about at least one source of the scope; `ids` as of `good_rule`."""
    ids = slo_queries.source_ids(reader) if ids is None else ids
    return [
        slo
        for slo in slos
        if not slo.match.sources
        or any(ids.get(name) in scope.source_ids for name in slo.match.sources)
    ]


def good_rule(slo: Slo, ids: Mapping[str, int]) -> GoodRule:
    """The SLO as the store's queries take it.

    Args:
        slo: the definition.
        ids: source name -> source id.
    """
    labels = {
        "model": slo.match.models,
        "tenant": slo.match.tenants,
        "route": slo.match.routes,
        "slo_class": slo.match.classes,
    }
    return GoodRule(
        limits_seconds=slo.limits_seconds,
        labels={column: accepted for column, accepted in labels.items() if accepted},
        # An unknown name must not mean "all sources".
        source_ids=tuple(ids.get(name, 0) for name in slo.match.sources),
        count_aborted=slo.count_aborted,
    )


def count(
    reader: Reader, slos: Sequence[Slo], scope: Scope, ids: Mapping[str, int] | None = None
) -> list[Counted]:
    """Counts of every SLO over its window ending at `scope.end`.

    Of a calendar SLO the bins reach as far as its sliding windows, and `period` has its own time.
    From request rows; for the live fleet where none match, from the engines' histograms. Every
    window that decides something is exact, whichever SLOs are counted together; all windows are in
    the last six hours. `ids` as of `good_rule`.
    """
    if not slos:
        return []
    ids = slo_queries.source_ids(reader) if ids is None else ids
    width = bin_width_seconds(slos, own_reach_seconds(slos, scope.end))
    stretches = own_stretches(slos, scope.end, width)
    rules = [good_rule(slo, ids) for slo in slos]
    cells = read_cells(reader, scope, rules, stretches, scope.end, width)
    return counted_of(reader, slos, scope, rules, cells, 0)


def own_reach_seconds(slos: Sequence[Slo], end: datetime) -> float:
    """How far back the windows of these SLOs reach, calendar periods and alerts included."""
    own = (max(reach_of(slo), window_of(slo, end).elapsed_seconds) for slo in slos)
    return max(own)


def own_stretches(slos: Sequence[Slo], end: datetime, width_seconds: int) -> list[Stretch]:
    """What these SLOs themselves count: all sliding windows, then each calendar period."""
    reach = max(reach_of(slo) for slo in slos)
    sliding = stretch_of(slos, end, width_seconds, reach)
    return [sliding, *(Stretch(since) for since in _periods(slos, end))]


def stretch_of(
    slos: Sequence[Slo],
    end: datetime,
    width_seconds: int,
    reach_seconds: float,
    exact_seconds: float = 0.0,
) -> Stretch:
    """Whole bins that reach so far back; exact in the last `exact_seconds`, six hours at least."""
    start = end - timedelta(seconds=math.ceil(reach_seconds / width_seconds) * width_seconds)
    since = end - timedelta(seconds=exact_seconds)
    return Stretch(start, tuple(_window_starts(slos, end)), since)


def counted_of(
    reader: Reader,
    slos: Sequence[Slo],
    scope: Scope,
    rules: Sequence[GoodRule],
    cells: Cells,
    place: int,
) -> list[Counted]:
    """The counts of SLOs from what was read for `own_stretches` and any that follow.

    Args:
        reader: the store, asked where no row of an SLO was read.
        slos: the definitions.
        scope: sources and labels.
        rules: of the definitions.
        cells: what was read.
        place: of the stretch that the bins are of.
    """
    found, width = cells.counts(place), cells.width_seconds
    rows = [
        Counted(
            as_intervals(found, index),
            width,
            scope.end,
            blind=blind_to_failures(reader, slo, scope, rule),
        )
        for index, (slo, rule) in enumerate(zip(slos, rules, strict=True))
    ]
    for one in cells.uncounted:
        rows[one] = replace(rows[one], note=UNCOUNTED, is_uncounted=True)
    for number, places in enumerate(_periods(slos, scope.end).values(), 1):
        counts = cells.counts(number)
        for one in places:
            rows[one] = replace(rows[one], period=as_intervals(counts, one))
    if scope.source_ids == (LIVE_SOURCE_ID,):
        return _with_buckets(reader, slos, scope, rows, cells.stretches[place].start)
    return rows


def _periods(slos: Sequence[Slo], end: datetime) -> dict[datetime, list[int]]:
    """The starts of the calendar periods, each with the places of the SLOs that have it."""
    starts: dict[datetime, list[int]] = defaultdict(list)
    for place, slo in enumerate(slos):
        if slo.calendar is not None:
            starts[window_of(slo, end).start].append(place)
    return starts


def _with_buckets(
    reader: Reader, slos: Sequence[Slo], scope: Scope, rows: list[Counted], start: datetime
) -> list[Counted]:
    """The counts of the rows; of SLOs that no row of their window is about, the engines' own.

    Decided for each SLO by itself, so that it reads the same alone and among others.
    """
    silent = [
        place
        for place, (slo, found) in enumerate(zip(slos, rows, strict=True))
        if not found.is_uncounted
        and not (tally := found.own(slo.window_seconds)).attempted
        and not tally.undetermined
    ]
    if not silent:
        return rows
    asked = [slos[place] for place in silent]
    edges = _window_starts(asked, scope.end, short=True)
    width = rows[0].width_seconds
    bucketed = count_buckets(reader, asked, scope, start, width, edges)
    for since, places in _periods(asked, scope.end).items():
        mine = [asked[place] for place in places]
        periods = count_buckets(reader, mine, scope, since, width, [since])
        for place, period in zip(places, periods, strict=True):
            bucketed[place] = replace(bucketed[place], period=period.bins, note=period.note)
    heard = slo_queries.has_requests(reader, LIVE_SOURCE_ID)
    chosen = list(rows)
    for place, slo, found in zip(silent, asked, bucketed, strict=True):
        if not heard or found.own(slo.window_seconds).attempted:
            chosen[place] = found
    return chosen


def blind_to_failures(reader: Reader, slo: Slo, scope: Scope, rule: GoodRule) -> bool:
    """Whether availability cannot be told here: 100 % of a record without failures is no news."""
    sources = [n for n in scope.source_ids if not rule.source_ids or n in rule.source_ids]
    return slo.kind == "availability" and slo_queries.without_failures(reader, sources)


def bin_width_seconds(slos: Sequence[Slo], reach_seconds: float) -> int:
    """A bin width that divides every window in use, unless that would make too many bins."""
    windows = [300.0, HOUR_SECONDS]
    for slo in slos:
        windows.append(slo.window_seconds)
        for rule in slo.alerts:
            windows += [rule.long_seconds, rule.short_seconds]
    common = math.gcd(*(max(1, round(window)) for window in windows))
    least = reach_seconds / MOST_BINS
    # Five minutes, the shortest window of the burn chart, stay whole bins as long as possible.
    parts = [part for part in range(common, 301, common) if 300 % part == 0 and part >= least]
    return parts[0] if parts else 300 * math.ceil(least / 300)


def _window_starts(slos: Sequence[Slo], end: datetime, *, short: bool = False) -> list[datetime]:
    """Where the windows of the SLOs and of their alerts begin, the SLOs' own first.

    Short windows, and that of the projection, are asked for where the last hours are not exact
    anyway.
    """
    windows = dict.fromkeys(slo.window_seconds for slo in slos if slo.calendar is None)
    windows |= dict.fromkeys(rule.long_seconds for slo in slos for rule in slo.alerts)
    if short:
        shorts = (rule.short_seconds for slo in slos for rule in slo.alerts)
        windows |= dict.fromkeys((PROJECTION_SECONDS, *shorts))
    return [end - timedelta(seconds=window) for window in list(windows)[:MOST_EDGES]]


def as_intervals(found: pl.DataFrame, index: int) -> pl.DataFrame:
    """Counts of one rule with good as an interval of no width."""
    return found.filter(pl.col("rule") == index).select(
        "bin",
        pl.col("good").cast(pl.Float64).alias("good_low"),
        pl.col("good").cast(pl.Float64).alias("good_high"),
        (pl.col("good") + pl.col("bad")).cast(pl.Float64).alias("attempted"),
        pl.col("undetermined").cast(pl.Float64),
        pl.col("measured").cast(pl.Float64),
    )
