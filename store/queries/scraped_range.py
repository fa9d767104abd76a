"""What a question about scraped series spans: a range, its bins, the series that are meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from store.queries.sample_split import Bins, Span
from store.queries.slo import naive_utc

LOOK_BACK_SECONDS = 300
"""A counter's first step needs the point before it; scrapes are at most this far apart."""
FINE_SECONDS = 86_400
"""Every scrape of the last day is looked at; of older ones, one in six hours."""
STRETCH_SECONDS = 21_600
RECENT_SECONDS = 3_600
"""So much at the end of a range is exact to the bin, whatever else need not be."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A range and its bins; naive UTC.

    Attributes:
        start: inclusive.
        end: exclusive.
        bins: their anchor and width.
        stretch_seconds: thins histograms older than a day.
        edges: of bins that cut buckets only the edges at these times must be exact, and those of
            the last hour; None asks it of all.
    """

    start: datetime
    end: datetime
    bins: Bins
    stretch_seconds: int
    edges: tuple[datetime, ...] | None = None

    @property
    def low(self) -> datetime:
        """Where the point before the first step may be."""
        return self.start - timedelta(seconds=LOOK_BACK_SECONDS)

    @property
    def fine(self) -> datetime:
        """What is older is thinned."""
        return min(max(self.end - timedelta(seconds=FINE_SECONDS), self.low), self.end)

    def cut_by_bins(self, low: datetime) -> list[Span]:
        """What of [low, end) roll-ups do not answer, since edges of bins cut their buckets."""
        if self.bins.whole_buckets(max(self.start, low), self.end):
            return []
        if self.edges is None:
            return [(low, self.end)]
        recent = max(self.end - timedelta(seconds=RECENT_SECONDS), low)
        return [*((at, at) for at in self.edges if low <= at), (recent, self.end)]

    def bin_sql(self, column: str) -> str:
        """SQL for the bin of a time."""
        width_us = self.bins.width // timedelta(microseconds=1)
        return f"(epoch_us(TIMESTAMP '{self.bins.anchor}') - epoch_us({column}) - 1) // {width_us}"


def ask(
    start: datetime,
    end: datetime,
    width_seconds: float,
    anchor: datetime | None,
    stretch_seconds: int = STRETCH_SECONDS,
    edges: Sequence[datetime] | None = None,
) -> Asked:
    """A range as queries take it; arguments as of `store.queries.telemetry.histogram_points`."""
    width = timedelta(microseconds=int(width_seconds * 1_000_000))
    bins = Bins(naive_utc(anchor or end), width)
    told = None if edges is None else tuple(naive_utc(at) for at in edges)
    return Asked(naive_utc(start), naive_utc(end), bins, int(stretch_seconds), told)


def chosen_sql(kind: str, targets: Sequence[int] | None = None) -> str:
    """The series that are meant. Labels join what is left of their points, which is little."""
    ids = ", ".join(str(int(number)) for number in targets or ()) or "NULL"
    only = "" if targets is None else f"AND t.target_id IN ({ids})"
    return f"""chosen AS (
      SELECT s.series_id, s.target_id, s.signal, coalesce(s.labels->>'model', t.model) AS model,
        coalesce(s.labels->>'finish_reason', s.labels->>'reason') AS reason
      FROM series AS s JOIN target AS t USING (target_id)
      WHERE {kind} AND list_contains($signals, s.signal) AND t.removed_at IS NULL {only})"""


def within(column: str, span: Span) -> str:
    """SQL that holds for times of a stretch."""
    return f"{column} >= TIMESTAMP '{span[0]}' AND {column} < TIMESTAMP '{span[1]}'"
