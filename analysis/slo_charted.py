"""What the page of one objective counts, from one look at the rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

import polars as pl

from analysis import series, slo_frames
from analysis.slo_counting import (
    as_intervals,
    bin_width_seconds,
    counted_of,
    own_reach_seconds,
    own_stretches,
    stretch_of,
)
from analysis.slo_counts import Counted
from analysis.slo_model import Slo
from analysis.slo_window import reach_seconds
from store.queries.scope import Scope
from store.queries.slo import GoodRule
from store.queries.slo_cells import read_cells
from store.queries.slo_plan import RAW_RECENT, ROLLED_FROM, Stretch
from store.reader import Reader
from store.rollup import BUCKET_SECONDS


@dataclass(frozen=True, slots=True)
class Charted:
    """Counts of one objective.

    Attributes:
        own: of its own window, as every list has them.
        charts: far enough back for every window of the burn chart, and exact over a short range.
        events: the frame of that name.
    """

    own: Counted
    charts: Counted
    events: pl.DataFrame


def count_charted(reader: Reader, slo: Slo, rule: GoodRule, scope: Scope) -> Charted:
    """Counts of one objective and of the visible range."""
    own_reach = own_reach_seconds([slo], scope.end)
    width = bin_width_seconds([slo], own_reach)
    own = own_stretches([slo], scope.end, width)
    charts, wide = _charts(slo, scope, own_reach, width)
    bins = _EventBins.of(scope)
    shared = [charts] if wide == width else []
    cells = read_cells(
        reader, scope, [rule], [*own, *shared, Stretch(scope.start)], scope.end, width,
        cell_seconds=min(bins.width_seconds, BUCKET_SECONDS),
    )  # fmt: skip
    counted = counted_of(reader, [slo], scope, [rule], cells, 0)[0]
    if counted.is_uncounted:
        return Charted(counted, counted, slo_frames.no_events(scope, bins.width_seconds))
    drawn, place = cells, len(own)
    if not shared:
        drawn, place = read_cells(reader, scope, [rule], [charts, *own[1:]], scope.end, wide), 0
    if counted.basis != "requests":
        late = counted_of(reader, [slo], scope, [rule], drawn, place)[0]
        return Charted(counted, late, slo_frames.events_of(late, scope))
    late = replace(counted, bins=as_intervals(drawn.counts(place), 0), width_seconds=wide)
    found = cells.in_bins(len(own) + len(shared), bins.anchor, bins.width_seconds)
    return Charted(counted, late, slo_frames.events(found, scope, bins.width_seconds))


def _charts(slo: Slo, scope: Scope, own_reach: float, width: int) -> tuple[Stretch, int]:
    """What the burn chart counts, and in bins of how many seconds."""
    longest = min(slo.window_seconds, max(slo_frames.BURN_WINDOWS_SECONDS.values()))
    # Two hours more: a window of an hour that ends where the range begins is exact too.
    exact = scope.seconds + 7200 if scope.seconds <= slo_frames.EXACT_RANGE_SECONDS else 0.0
    reach = scope.seconds + longest
    if reach <= reach_seconds(slo) and exact <= RAW_RECENT.total_seconds():
        return own_stretches([slo], scope.end, width)[0], width
    reach = max(reach, reach_seconds(slo))
    wide = bin_width_seconds([slo], max(reach, own_reach))
    return stretch_of([slo], scope.end, wide, reach, exact), wide


class _EventBins(NamedTuple):
    """Round bins of the visible range; `anchor` (naive UTC) is the end of the newest."""

    width_seconds: int
    anchor: datetime

    @classmethod
    def of(cls, scope: Scope) -> _EventBins:
        width = scope.bin_seconds()
        if timedelta(seconds=scope.seconds) >= ROLLED_FROM:
            # Whole buckets of the roll-up, so that none is counted in its neighbour's bin.
            width = -(-width // BUCKET_SECONDS) * BUCKET_SECONDS
        last: datetime = series.round_bins(scope.start, scope.end, width)["at"][-1]
        return cls(width, last + timedelta(seconds=width))
