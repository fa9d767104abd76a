"""What was scraped from live targets, thinned to what a page can show.

Bins reach back from `anchor` (`end` when None) as in `store.queries.slo`: bin k covers
[anchor - (k+1) width, anchor - k width). Where they are whole buckets of five minutes the numbers
come from roll-ups (`store.sample_rollup`), else from the samples; that changes the time it takes,
never the numbers (sums but for their last digit). Where samples are deleted already only roll-ups
answer, and a bucket counts in the bin of its last point.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from store.queries import target_scrapes
from store.queries.sample_split import Split, Use, clipped, split
from store.queries.scraped_range import (
    LOOK_BACK_SECONDS,
    STRETCH_SECONDS,
    Asked,
    ask,
    chosen_sql,
    within,
)
from store.queries.slo import naive_utc
from store.reader import Reader, Snapshot
from store.rolled_buckets import BUCKET_SECONDS


def targets(reader: Reader, end: datetime) -> pl.DataFrame:
    """Every target that is watched, as seen at `end`.

    Returns:
        target_id, url, engine, engine_version, model, added_at, removed_at, last_at, last_outcome,
        last_error, last_success_at, last_duration_seconds, sample_count, bad_line_count,
        unknown_family_count, interval_seconds (median gap between recent scrapes); by URL.
        Times are naive UTC.
    """
    at = naive_utc(end)
    recent = at - timedelta(seconds=LOOK_BACK_SECONDS * 2)
    with reader.snapshot() as snapshot:
        found = snapshot.frame(target_scrapes.LATE, end=at, recent=recent)
        silent = found.filter(pl.col("last_success_at").is_null())
        if silent.is_empty():
            return found
        older = target_scrapes.spans(snapshot, silent, recent)
        return snapshot.frame(target_scrapes.with_older(older), end=at, recent=recent)


def gauge_bins(
    reader: Reader,
    signals: Sequence[str],
    start: datetime,
    end: datetime,
    width_seconds: float,
    anchor: datetime | None = None,
    *,
    targets: Sequence[int] | None = None,
    use: Use = "auto",
) -> pl.DataFrame:
    """Gauges per series and bin.

    Args:
        reader: the store.
        signals: names of gauges.
        start: aware UTC.
        end: aware UTC, exclusive.
        width_seconds: > 0.
        anchor: where bins reach back from; None takes `end`.
        targets: only these; None takes all that are watched.
        use: "raw" keeps off the roll-ups; for tests and benchmarks.

    Returns:
        series_id, target_id, signal, model, bin, mean, maximum, latest, latest_at.
    """
    final = """SELECT series_id, c.target_id, c.signal, c.model, bin, value_sum / n AS mean,
      value_max AS maximum, value_last AS latest, last_at AS latest_at
    FROM binned JOIN chosen AS c USING (series_id)
    ORDER BY c.target_id, c.signal, bin DESC, series_id"""
    asked = ask(start, end, width_seconds, anchor)
    return _gauges(reader, final, signals, asked, targets, use)


def gauge_lines(
    reader: Reader,
    signals: Sequence[str],
    start: datetime,
    end: datetime,
    width_seconds: float,
    anchor: datetime | None = None,
    *,
    targets: Sequence[int] | None = None,
    use: Use = "auto",
) -> pl.DataFrame:
    """Gauges of all series together, by bin: what `gauge_bins` gives, summed up.

    Args:
        reader: the store.
        signals: names of gauges.
        start: aware UTC.
        end: aware UTC, exclusive.
        width_seconds: > 0.
        anchor: where bins reach back from; None takes `end`.
        targets: only these; None takes all that are watched.
        use: see `gauge_bins`.

    Returns:
        signal, bin, total (sum of the series' means), highest (largest of their means), series
        (how many had a value in the bin); by signal, newest bin last.
    """
    final = """SELECT c.signal, bin, sum(value_sum / n) AS total, max(value_sum / n) AS highest,
      count(*) AS series
    FROM binned JOIN chosen AS c USING (series_id) GROUP BY ALL ORDER BY c.signal, bin DESC"""
    asked = ask(start, end, width_seconds, anchor)
    return _gauges(reader, final, signals, asked, targets, use)


def histogram_points(
    reader: Reader,
    signals: Sequence[str],
    start: datetime,
    end: datetime,
    width_seconds: float,
    anchor: datetime | None = None,
    stretch_seconds: int = STRETCH_SECONDS,
    *,
    edges: Sequence[datetime] | None = None,
    use: Use = "auto",
) -> pl.DataFrame:
    """Cumulative histograms, thinned to one point a bin without losing a reset.

    The last point before `start` comes along, so that the first step is known. Of what is older
    than a day, only the last point of each `stretch_seconds` is taken, if it lies in its last
    minute: totals stay true, but for what an engine counted between such a point and a restart.

    Args:
        reader: the store.
        signals: names of histograms.
        start: aware UTC.
        end: aware UTC, exclusive.
        width_seconds: > 0.
        anchor: where bins reach back from; None takes `end`.
        stretch_seconds: > 60.
        edges: times (aware) of edges of bins that must be exact; None takes all. Where bins are no
            whole buckets the others may be off by less than a bucket, but for the last hour.
        use: see `gauge_bins`.

    Returns:
        series_id, target_id, signal, model, at, bin, observation_count, observation_sum, edges,
        cumulative_counts; sorted by series and time.
    """
    asked = ask(start, end, width_seconds, anchor, stretch_seconds, edges)
    with reader.snapshot() as snapshot:
        plan = _points_split(snapshot, asked, use)
        kept = _kept_sql(plan, asked)
        whole = _pieces_sql(plan, "p.*", asked.low, asked.end)
        return snapshot.frame(
            f"""WITH {chosen_sql("s.kind = 'histogram'")}, {kept}
            SELECT series_id, c.target_id, c.signal, c.model, k.sampled_at AS at, k.bin,
              h.observation_count, h.observation_sum, h.edges, h.cumulative_counts
            FROM kept AS k JOIN ({whole}) AS h USING (series_id, sampled_at)
            JOIN chosen AS c USING (series_id) ORDER BY series_id, k.sampled_at""",
            signals=list(signals),
        )


def _gauges(
    reader: Reader,
    final: str,
    signals: Sequence[str],
    asked: Asked,
    targets: Sequence[int] | None,
    use: Use,
) -> pl.DataFrame:
    """What `final` makes of `chosen` and `binned`: series_id, bin, n, value_sum, …, last_at."""
    aligned = asked.bins.whole_buckets(asked.start, asked.end)
    raw_parts = [] if aligned else [(asked.start, asked.end)]
    with reader.snapshot() as snapshot:
        plan = split(snapshot, asked.start, asked.end, raw_parts, use=use)
        return snapshot.frame(
            f"""WITH {chosen_sql("s.kind = 'gauge'", targets)},
            binned AS ({_binned_sql(plan, asked)}) {final}""",
            signals=list(signals),
        )


def _binned_sql(plan: Split, asked: Asked) -> str:
    """One row a series and bin."""
    pieces = [
        f"""SELECT series_id, {asked.bin_sql("last_at")} AS bin, sample_count AS n, value_sum,
          value_max, value_last, last_at
        FROM rollup_gauge SEMI JOIN chosen USING (series_id) WHERE {within("bucket_at", span)}"""
        for span in plan.rolled
    ] + [
        f"""SELECT series_id, {asked.bin_sql("sampled_at")} AS bin, count(*) AS n,
          sum(value) AS value_sum, max(value) AS value_max,
          max_by(value, sampled_at) AS value_last, max(sampled_at) AS last_at
        FROM sample SEMI JOIN chosen USING (series_id) WHERE {within("sampled_at", span)}
        GROUP BY ALL"""
        for span in plan.raw
    ]
    together = " UNION ALL ".join(pieces)
    # A bin of one bucket comes from one piece, in one row.
    if asked.bins.are_buckets or (not plan.rolled and len(plan.raw) == 1):
        return together
    return f"""SELECT series_id, bin, sum(n) AS n, sum(value_sum) AS value_sum,
      max(value_max) AS value_max, max_by(value_last, last_at) AS value_last,
      max(last_at) AS last_at
    FROM ({together}) GROUP BY ALL"""


def _points_split(snapshot: Snapshot, asked: Asked, use: Use) -> Split:
    """Thinned points are those of a roll-up where a bucket lies in one bin or one stretch."""
    start, end, fine = asked.start, asked.end, asked.fine
    parts = [*((at, at) for at in (start, fine)), *asked.cut_by_bins(fine)]
    if asked.stretch_seconds % BUCKET_SECONDS:
        parts.append((asked.low, fine))
    return split(snapshot, asked.low, end, parts, use=use)


def _kept_sql(plan: Split, asked: Asked) -> str:
    """Which points are kept: series_id, sampled_at, held, bin.

    Kept: the first point, the last of each bin, and both sides of every drop or change of layout,
    so that two scrapes already give a rate and no reset of the last day is lost. Of the points
    before the range only the last, which the first step starts from: what was counted earlier is
    not of this range.
    """
    first = f"TIMESTAMP '{asked.start}'"
    return f"""looked AS (
      SELECT *, {asked.bin_sql("sampled_at")} AS bin FROM ({_looked_sql(plan, asked)})
    ), placed AS (
      SELECT *, lag(held) OVER w AS held_before, lead(held) OVER w AS held_after,
        lead(bin) OVER w AS bin_after, lead(sampled_at) OVER w AS at_after,
        lag(layout) OVER w AS layout_before, lead(layout) OVER w AS layout_after
      FROM looked WINDOW w AS (PARTITION BY series_id ORDER BY sampled_at)
    ), kept AS (
      SELECT series_id, sampled_at, held, bin FROM placed
      WHERE (sampled_at >= {first} OR at_after >= {first})
        AND (sampled_at < {first} OR held_before IS NULL OR bin_after IS DISTINCT FROM bin
          OR held_before > held OR held_after < held
          OR layout_before <> layout OR layout_after <> layout))"""


def _looked_sql(plan: Split, asked: Asked) -> str:
    """The points that are looked at: all of the last day, the last of each stretch before."""
    columns = "p.series_id, p.sampled_at, p.observation_count AS held, hash(p.edges) AS layout"
    fine = _pieces_sql(plan, columns, asked.fine, asked.end)
    if asked.fine <= asked.low:
        return fine
    old = _pieces_sql(plan, columns, asked.low, asked.fine)
    stretch = asked.stretch_seconds
    return f"""{fine} UNION ALL (
      SELECT series_id, max(sampled_at) AS sampled_at, max_by(held, sampled_at) AS held,
        max_by(layout, sampled_at) AS layout
      FROM ({old}) WHERE epoch_us(sampled_at) // 1000000 % {stretch} >= {stretch - 60}
      GROUP BY series_id, epoch_us(sampled_at) // {stretch * 1_000_000})"""


def _pieces_sql(plan: Split, columns: str, low: datetime, high: datetime) -> str:
    """Columns of the points of a stretch, from wherever they lie."""
    pieces = [
        f"""SELECT {columns} FROM {table} AS p SEMI JOIN chosen AS c USING (series_id)
        WHERE {within("p.sampled_at", span)}"""
        for table, spans in (("rollup_histogram", plan.rolled), ("histogram_sample", plan.raw))
        for span in clipped(spans, low, high)
    ]
    nothing = f"SELECT {columns} FROM histogram_sample AS p WHERE FALSE"
    return " UNION ALL ".join(pieces) or nothing
