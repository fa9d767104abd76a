"""Scrapes as the rows of the store, column by column: a row at a time costs four times as much."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from collector.model import HistogramSample, Sample, Scrape
from store.signals import SIGNALS

if TYPE_CHECKING:
    import polars as pl


def frames(batch: Sequence[Scrape]) -> dict[str, pl.DataFrame]:
    """The rows of `batch` by table, with the columns that `store.append` takes; may be empty."""
    return {
        "scrape": _scrapes(batch),
        "sample": _samples(batch),
        "histogram_sample": _histograms(batch),
    }


def _scrapes(batch: Sequence[Scrape]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(
        {
            "target_id": [told.target_id for told in batch],
            "scraped_at": [_naive(told.at) for told in batch],
            "duration_seconds": [told.duration_seconds for told in batch],
            "outcome": [told.outcome for told in batch],
            "error": [told.error for told in batch],
            "body_bytes": [told.body_bytes for told in batch],
            "sample_count": [told.sample_count for told in batch],
            "bad_line_count": [told.bad_line_count for told in batch],
            "unknown_family_count": [told.unknown_family_count for told in batch],
        },
        schema={
            "target_id": pl.Int32,
            "scraped_at": pl.Datetime("us"),
            "duration_seconds": pl.Float64,
            **dict.fromkeys(("outcome", "error"), pl.String),
            "body_bytes": pl.Int64,
            **dict.fromkeys(("sample_count", "bad_line_count", "unknown_family_count"), pl.Int32),
        },
    )


def _samples(batch: Sequence[Scrape]) -> pl.DataFrame:
    import polars as pl

    rows = list(chain.from_iterable(told.samples for told in batch))
    return pl.DataFrame(
        {
            **_named(batch, rows, lambda scrape: len(scrape.samples)),
            "value": pl.Series([row.value for row in rows], dtype=pl.Float64),
        }
    ).select("target_id", "signal", "kind", "unit", "labels", "sampled_at", "value")


def _histograms(batch: Sequence[Scrape]) -> pl.DataFrame:
    import polars as pl

    rows = list(chain.from_iterable(told.histograms for told in batch))
    named = _named(batch, rows, lambda scrape: len(scrape.histograms))
    del named["kind"]
    return pl.DataFrame(
        {
            **named,
            "observation_count": _floats(row.observation_count for row in rows),
            "observation_sum": _floats(row.observation_sum for row in rows),
            "edges": _lists([row.edges for row in rows]),
            "cumulative_counts": _lists([row.cumulative_counts for row in rows]),
        }
    )


def _named(
    batch: Sequence[Scrape],
    rows: Sequence[Sample] | Sequence[HistogramSample],
    many: Callable[[Scrape], int],
) -> dict[str, pl.Series]:
    """Which series each row belongs to, and when it was taken."""
    import polars as pl

    counts = [many(scrape) for scrape in batch]
    known = [SIGNALS[row.signal] for row in rows]
    texts: dict[str, list[str]] = {
        "signal": [row.signal for row in rows],
        "kind": [signal.kind for signal in known],
        "unit": [signal.unit for signal in known],
        "labels": [row.labels for row in rows],
    }
    return {
        "target_id": _repeated([told.target_id for told in batch], counts, pl.Int32()),
        **{name: pl.Series(told, dtype=pl.String) for name, told in texts.items()},
        "sampled_at": _repeated([_naive(told.at) for told in batch], counts, pl.Datetime("us")),
    }


def _repeated(values: list[Any], counts: list[int], kind: pl.DataType) -> pl.Series:
    import polars as pl

    places = [place for place, count in enumerate(counts) for _ in range(count)]
    return pl.Series(values, dtype=kind).gather(places)


def _floats(values: Iterable[float | None]) -> pl.Series:
    import polars as pl

    return pl.Series(list(values), dtype=pl.Float64)


def _lists(values: list[tuple[float, ...]]) -> pl.Series:
    """A column of lists; one Arrow buffer for all is far cheaper than a Series for each."""
    import polars as pl
    import pyarrow as pa

    ends = [0]
    for value in values:
        ends.append(ends[-1] + len(value))
    flat: Any = pa.array(chain.from_iterable(values), type=pa.float64(), size=ends[-1])
    made: Any = pa.LargeListArray.from_arrays(pa.array(ends, type=pa.int64()), flat)
    return pl.Series(values=made, dtype=pl.List(pl.Float64))


def _naive(at: datetime) -> datetime:
    return at.replace(tzinfo=None)
