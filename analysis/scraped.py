"""Histograms of scraped engines as what was observed between scrapes, restarts known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from analysis.histograms import Observed, observed
from store.queries import telemetry
from store.queries.restarts import restarts
from store.queries.scraped_range import STRETCH_SECONDS
from store.reader import Reader

# A restart is a difference of two scrapes: look back further than the longest interval in use.
_LOOK_BACK = timedelta(seconds=300)


def observations(
    reader: Reader,
    signals: Sequence[str],
    start: datetime,
    end: datetime,
    width_seconds: int,
    anchor: datetime | None = None,
    stretch_seconds: int = STRETCH_SECONDS,
    *,
    targets: list[int] | None = None,
    edges: Sequence[datetime] | None = None,
) -> list[Observed]:
    """What targets observed between successive scrapes.

    A process that says when it started is believed about its restarts; of others a counter that
    falls tells, and a busy one may have passed its old value before the next scrape.

    Args:
        reader: the store.
        signals: histogram signals.
        start: aware UTC.
        end: aware UTC, exclusive.
        width_seconds: width of the bins.
        anchor: where bin 0 ends; `end` when None.
        stretch_seconds: how far old points are thinned, as `telemetry.histogram_points` has it.
        targets: only these; None takes all.
        edges: which edges of bins must be exact, as `telemetry.histogram_points` has it.
    """
    points = telemetry.histogram_points(
        reader, signals, start, end, width_seconds, anchor, stretch_seconds, edges=edges
    )
    if targets is not None:
        points = points.filter(pl.col("target_id").is_in(targets))
    if points.is_empty():
        return []
    return observed(points, restarts(reader, start - _LOOK_BACK, end))
