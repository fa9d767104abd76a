"""Steps of counters over seams: where what is read from one place follows what is from another.

A seam is also where the bucket before holds no point of a series, or nobody knows yet whether it
does. There are few: two a series and piece, and one for every hole in its record.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from store.queries.sample_split import Span, Split, clipped
from store.queries.scraped_range import Asked, within
from store.reader import Snapshot
from store.rolled_buckets import BUCKET, floor

MOST_NEAR = 16
"""With seams in more buckets than this, one look over the whole range is cheaper."""
# One number for series and bin: grouping by it takes half the time of grouping by two.
_SERIES = 4_294_967_296
_ZERO_BIN = 2_147_483_648
SERIES_AND_BIN = f"""(key // {_SERIES})::INTEGER AS series_id,
                key % {_SERIES} - {_ZERO_BIN} AS bin"""
"""SQL that takes a key apart again."""
_EMPTY = {"keys": pl.Int64, "increases": pl.Float64, "us": pl.Int64}


def key_sql(asked: Asked, column: str) -> str:
    """SQL for series and bin (of a time) as one number."""
    return f"series_id::BIGINT * {_SERIES} + {_ZERO_BIN} + {asked.bin_sql(column)}"


def seam_end(low: datetime) -> datetime:
    """Into buckets from here on steps lead from within a rolled piece that begins at `low`."""
    return floor(low + BUCKET - timedelta(microseconds=1)) + BUCKET


def steps(
    snapshot: Snapshot,
    plan: Split,
    asked: Asked,
    chosen: str,
    signals: list[str],
    longest_step_seconds: float | None,
) -> pl.DataFrame:
    """What was counted over seams.

    Args:
        snapshot: the store.
        plan: what is read from where.
        asked: the range and its bins.
        chosen: SQL of the series that are meant, named `chosen`.
        signals: names for it.
        longest_step_seconds: longer ones are left out; None takes all.

    Returns:
        keys (see `key_sql`), increases, us.
    """
    if not plan.rolled and len(plan.raw) <= 1:
        return pl.DataFrame(schema=_EMPTY)
    begun = snapshot.frame(
        f"WITH {chosen} {' UNION ALL '.join(_begun_sql(plan, asked))}", signals=signals
    )
    if begun.is_empty():
        return pl.DataFrame(schema=_EMPTY)
    found = _with_ends(snapshot, plan, begun, _near(asked, begun))
    # What lies further back was looked at in part only, for the sake of another point.
    is_near = pl.col("before_at") >= pl.col("begun_at") - BUCKET
    lost = found.filter(is_near.not_() | pl.col("before_at").is_null()).select(begun.columns)
    if lost.height:
        far = [(asked.low, max(lost["begun_at"]))]
        found = pl.concat([found.filter(is_near), _with_ends(snapshot, plan, lost, far)])
    value, before = pl.col("value"), pl.col("before")
    stepped = found.filter(pl.col("before_at").is_not_null()).select(
        "keys",
        increases=pl.when(value < before).then(value).otherwise(value - before),
        us=(pl.col("begun_at") - pl.col("before_at")).dt.total_microseconds(),
    )
    if longest_step_seconds is None:
        return stepped
    return stepped.filter(pl.col("us") <= int(longest_step_seconds * 1_000_000))


def _begun_sql(plan: Split, asked: Asked) -> list[str]:
    """Points in the range that nothing is known before: keys, series_id, begun_at, value."""
    first = f"TIMESTAMP '{asked.start}'"
    rolled = f"""SELECT {key_sql(asked, "last_at")} AS keys, series_id, first_at AS begun_at,
        first_value AS value
      FROM rollup_counter SEMI JOIN chosen USING (series_id) WHERE last_at >= {first} AND """
    pieces = []
    for low, high in plan.rolled:
        seam = min(seam_end(low), high)
        pieces += [
            rolled + within("bucket_at", (low, seam)),
            rolled + "before_at IS NULL AND " + within("bucket_at", (seam, high)),
        ]
    return pieces + [
        f"""SELECT {key_sql(asked, "begun_at")}, series_id, begun_at, value
        FROM (SELECT series_id, min(sampled_at) AS begun_at, min_by(value, sampled_at) AS value
          FROM sample SEMI JOIN chosen USING (series_id) WHERE {within("sampled_at", span)}
          GROUP BY series_id)
        WHERE begun_at >= {first}"""
        for span in plan.raw
    ]


def _near(asked: Asked, begun: pl.DataFrame) -> list[Span]:
    """Where the points before are looked for first: the bucket before and their own."""
    buckets = {floor(at) for at in begun["begun_at"].unique()}
    if len(buckets) > MOST_NEAR:
        return []
    spans: list[Span] = []
    for low, high in sorted((max(at - BUCKET, asked.low), at + BUCKET) for at in buckets):
        if spans and low <= spans[-1][1]:
            spans[-1] = (spans[-1][0], high)
        else:
            spans.append((low, high))
    return spans


def _with_ends(
    snapshot: Snapshot, plan: Split, begun: pl.DataFrame, spans: Sequence[Span]
) -> pl.DataFrame:
    """The points with before_at and before: the last point of the series before, in the spans."""
    near = [
        f"""SELECT series_id, {at} AS before_at, {value} AS before
        FROM {table} SEMI JOIN wanted USING (series_id) WHERE {within(column, span)}"""
        for table, column, at, value, pieces in (
            ("rollup_counter", "bucket_at", "last_at", "last_value", plan.rolled),
            ("sample", "sampled_at", "sampled_at", "value", plan.raw),
        )
        for low, high in spans
        for piece in pieces
        for span in clipped([piece], low, high)
    ]
    if not near or begun.is_empty():
        nothing = {"before_at": pl.lit(None, pl.Datetime("us")), "before": pl.lit(None, pl.Float64)}
        return begun.with_columns(**nothing)
    ends = snapshot.frame(
        f"""WITH wanted AS (SELECT unnest($ids::INTEGER[]) AS series_id)
        {" UNION ALL ".join(near)}""",
        ids=begun["series_id"].unique().to_list(),
    )
    return begun.sort("begun_at").join_asof(
        ends.sort("before_at"),
        left_on="begun_at",
        right_on="before_at",
        by="series_id",
        strategy="backward",
        allow_exact_matches=False,
        coalesce=False,
        check_sortedness=False,
    )
