"""What scraped counters counted, by series and bin: increases over steps, restarts known.

A counter is cumulative since its process started. A drop is a restart: what it shows afterwards was
counted since then (Prometheus' `increase()` without its extrapolation). A step leads from one point
to the next and belongs to the bin of the later one.

Where bins are whole buckets of five minutes the steps inside a bucket, and that from the bucket
before, come summed up from the roll-up. What is left are steps over a seam: between pieces that are
read from different places, and over buckets without a point. They are few, and found by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from store.queries import counter_seams
from store.queries.sample_split import Split, Use, split
from store.queries.scraped_range import Asked, ask, chosen_sql, within
from store.reader import Reader, Snapshot
from store.rolled_buckets import BUCKET

# A longer step is only known where every step of the roll-up is shorter: two buckets.
_LONGEST_ROLLED_SECONDS = 2 * BUCKET.total_seconds()


def counter_steps(
    reader: Reader,
    signals: Sequence[str],
    start: datetime,
    end: datetime,
    width_seconds: float,
    anchor: datetime | None = None,
    *,
    longest_step_seconds: float | None = None,
    targets: Sequence[int] | None = None,
    edges: Sequence[datetime] | None = None,
    use: Use = "auto",
) -> pl.DataFrame:
    """What each counter counted, by bin.

    Args:
        reader: the store.
        signals: names of counters.
        start: aware UTC; the last point before it, up to five minutes, begins the first step.
        end: aware UTC, exclusive.
        width_seconds: > 0.
        anchor: where bins reach back from; None takes `end`.
        longest_step_seconds: a longer step is a hole in the record, and its increase unknown; None
            accepts all.
        targets: only these; None takes all that are watched.
        edges: times (aware) of edges of bins that must be exact; None takes all. Where bins are no
            whole buckets the others may be off by less than a bucket, but for the last hour.
        use: "raw" keeps off the roll-ups; for tests and benchmarks.

    Returns:
        series_id, target_id, signal, model, reason, bin, increase, seconds (what its known steps
        cover); both null where a bin holds points but no known step. By series, newest bin last.
    """
    final = """SELECT series_id, c.target_id, c.signal, c.model, c.reason, bin,
      CASE WHEN covered_us > 0 THEN increase END AS increase,
      CASE WHEN covered_us > 0 THEN covered_us / 1e6 END AS seconds
    FROM each JOIN chosen AS c USING (series_id) ORDER BY series_id, bin DESC"""
    asked = ask(start, end, width_seconds, anchor, edges=edges)
    return _answer(reader, final, signals, asked, longest_step_seconds, targets, use)


def counter_lines(
    reader: Reader,
    signals: Sequence[str],
    start: datetime,
    end: datetime,
    width_seconds: float,
    anchor: datetime | None = None,
    *,
    longest_step_seconds: float | None = None,
    targets: Sequence[int] | None = None,
    use: Use = "auto",
) -> pl.DataFrame:
    """Rates of all series of a signal together, by bin: what `counter_steps` gives, summed up.

    Args: as of `counter_steps`.

    Returns:
        signal, bin, increase, rate_per_second (what all series counted ÷ the longest time that one
        of them covers); by signal, newest bin last. Bins without any known step are absent.
    """
    final = """SELECT c.signal, bin, sum(increase) AS increase,
      sum(increase) / (max(covered_us) / 1e6) AS rate_per_second
    FROM each JOIN chosen AS c USING (series_id) WHERE covered_us > 0
    GROUP BY ALL ORDER BY c.signal, bin DESC"""
    asked = ask(start, end, width_seconds, anchor)
    return _answer(reader, final, signals, asked, longest_step_seconds, targets, use)


def _answer(
    reader: Reader,
    final: str,
    signals: Sequence[str],
    asked: Asked,
    longest: float | None,
    targets: Sequence[int] | None,
    use: Use,
) -> pl.DataFrame:
    """What `final` makes of `chosen` and `each`: series_id, bin, increase, covered_us."""
    chosen = chosen_sql("s.kind = 'counter'", targets)
    told: dict[str, list[Any]] = {"signals": list(signals)}
    with reader.snapshot() as snapshot:
        plan = _split(snapshot, asked, longest, use)
        seams = counter_seams.steps(snapshot, plan, asked, chosen, list(signals), longest)
        pieces = _counted_sql(plan, asked, longest)
        if seams.height:
            pieces.append(
                """SELECT unnest($seam_keys::BIGINT[]), unnest($seam_increases::DOUBLE[]),
                unnest($seam_us::BIGINT[])"""
            )
            told |= {f"seam_{name}": seams[name].to_list() for name in seams.columns}
        together = " UNION ALL ".join(pieces)
        return snapshot.frame(
            f"""WITH {chosen}, each AS (
              SELECT {counter_seams.SERIES_AND_BIN}, increase, covered_us
              FROM (SELECT key, sum(increase) AS increase, sum(covered_us)::BIGINT AS covered_us
                FROM ({together}) AS t(key, increase, covered_us) GROUP BY key))
            {final}""",
            **told,
        )


def _split(snapshot: Snapshot, asked: Asked, longest: float | None, use: Use) -> Split:
    parts = [(asked.start, asked.start)]
    if longest is None or longest >= _LONGEST_ROLLED_SECONDS:
        parts += asked.cut_by_bins(asked.low)
    else:
        parts.append((asked.low, asked.end))
    return split(snapshot, asked.low, asked.end, parts, use=use)


def _counted_sql(plan: Split, asked: Asked, longest: float | None) -> list[str]:
    """Key, increase and covered time of all steps but those over seams, 0 where there is none."""
    first = f"TIMESTAMP '{asked.start}'"
    key = counter_seams.key_sql(asked, "last_at")
    inner = f"""SELECT {key}, increase, epoch_us(last_at) - epoch_us(first_at)
      FROM rollup_counter SEMI JOIN chosen USING (series_id) WHERE last_at >= {first} AND """
    stepped = f"""SELECT {key}, increase + coalesce(step_increase, 0),
        epoch_us(last_at) - epoch_us(coalesce(before_at, first_at))
      FROM rollup_counter SEMI JOIN chosen USING (series_id) WHERE last_at >= {first} AND """
    pieces = []
    for low, high in plan.rolled:
        seam = min(counter_seams.seam_end(low), high)
        pieces.append(inner + within("bucket_at", (low, seam)))
        if seam < high:
            pieces.append(stepped + within("bucket_at", (seam, high)))
    known = "before_us IS NOT NULL"
    if longest is not None:
        known += f" AND epoch_us(sampled_at) - before_us <= {int(longest * 1_000_000)}"
    grown = "value - CASE WHEN value < before THEN 0 ELSE before END"
    pieces += [
        f"""SELECT {counter_seams.key_sql(asked, "sampled_at")},
          CASE WHEN {known} THEN {grown} ELSE 0 END,
          CASE WHEN {known} THEN epoch_us(sampled_at) - before_us ELSE 0 END
        FROM (SELECT series_id, sampled_at, value, lag(value) OVER w AS before,
            epoch_us(lag(sampled_at) OVER w) AS before_us
          FROM sample SEMI JOIN chosen USING (series_id) WHERE {within("sampled_at", span)}
          WINDOW w AS (PARTITION BY series_id ORDER BY sampled_at))
        WHERE sampled_at >= {first}"""
        for span in plan.raw
    ]
    return pieces or ["SELECT 0::BIGINT, 0.0::DOUBLE, 0::BIGINT WHERE FALSE"]
