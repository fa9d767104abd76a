"""servescope's own Parquet export: rows with their keys, so that a re-import changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import orjson

from collector.traces.expressions import (
    COUNTS,
    FLAGS,
    SECONDS,
    TOKENS,
    WEIGHTS,
    YEAR_2000_SECONDS,
    literal,
    number_checks,
)
from collector.traces.format import TraceFormat
from collector.traces.head import DAMAGE, THRIFT, Head, bad_file
from store.bulk_spec import LABELS, BulkLoad, SourceSpec

SOURCES_KEY = "servescope_sources"
"""Parquet metadata: JSON, source name -> fields of `SourceSpec`."""
LIVE = "live"
MOST_SOURCES = 1_000
"""In one file; each of them is a load of its own."""
_BATCH_ROWS = 1 << 16
T = TypeVar("T")
_METADATA: Mapping[str, type | tuple[type, ...]] = {
    "format": str,
    "clock": str,
    "clock_resolution_seconds": (int, float),
    "time_zone": str,
    "prefix_block_tokens": int,
    "licence": str,
    "details": dict,
}
"""What is taken from a file's metadata, and the type that it must have."""
_REQUEST = {"source", "arrived_at", "status", "request_key"}
_RATE = {"source", "client", "window_start_at", "rate_per_second"}
_RATE_COLUMNS = (
    "client",
    "window_seconds",
    "rate_per_second",
    "interarrival_cv",
    "family",
    "shape",
    "scale_seconds",
)


def _matches(head: Head) -> bool:
    return head.kind == "parquet" and any(
        needed <= set(head.columns) for needed in (_REQUEST, _RATE)
    )


def _sources(head: Head) -> tuple[str, ...]:
    found: set[str] = set()
    for names in _read(head, "source", lambda values: values.unique().to_pylist()):
        found.update(str(name) for name in names if name is not None)
        if len(found) > MOST_SOURCES:
            raise bad_file(head.path, f"it has more than {MOST_SOURCES:,} sources", "split it")
    if not found:
        raise bad_file(head.path, "there are no rows in the file", "export it again")
    return tuple(sorted(found))


def _build(heads: Sequence[Head], name: str) -> BulkLoad:
    head = heads[0]
    spec = _spec(head, name)
    where = f"source = {literal(name)}"
    files = tuple(h.path for h in heads)
    columns = dict.fromkeys(head.columns, "")
    if "request_key" not in head.columns:
        return BulkLoad(
            source=spec,
            files=files,
            reader="parquet",
            columns=columns,
            select={"window_start_at": "window_start_at"}
            | {column: column for column in _RATE_COLUMNS},
            where=where,
            table="client_rate",
            units="client rates in servescope's own columns",
        )
    present = [
        column
        for column in (*TOKENS, *SECONDS, *COUNTS, *WEIGHTS, *FLAGS, "trace_id", "decision_id")
        if column in head.columns
    ]
    return BulkLoad(
        source=spec,
        files=files,
        reader="parquet",
        columns=columns,
        select={"arrived_at": "arrived_at"} | {column: column for column in present},
        labels={label: label for label in LABELS if label in head.columns},
        status="status::VARCHAR",
        session="session_id" if "session_id" in head.columns else None,
        blocks="block_hashes" if "block_hashes" in head.columns else None,
        checks=number_checks(present),
        where=where,
        key="request_key",
        units="rows in servescope's own columns and units",
    )


def _spec(head: Head, name: str) -> SourceSpec:
    """The source as it was exported; without metadata, what its times suggest."""
    known = _metadata(head).get(name)
    if name == LIVE:
        return SourceSpec(name, LIVE, "utc", time_zone="UTC", kind="live", adopt=True)
    if isinstance(known, dict) and known.get("clock") in ("utc", "local_unknown", "relative"):
        fields = {key: known[key] for key, kind in _METADATA.items()
                  if isinstance(known.get(key), kind)}  # fmt: skip
        return SourceSpec(**{"format": "servescope", **fields, "name": name, "adopt": True})
    clock: Any = "utc" if _first_seconds(head) >= YEAR_2000_SECONDS else "relative"
    return SourceSpec(name, "servescope", clock, adopt=True)


def _metadata(head: Head) -> dict[str, Any]:
    try:
        found = orjson.loads((head.metadata or {}).get(SOURCES_KEY, "{}"))
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _first_seconds(head: Head) -> float:
    import pyarrow as pa
    import pyarrow.compute as pc

    name = "arrived_at" if "arrived_at" in head.columns else "window_start_at"

    def first(values: Any) -> int | None:
        if not pa.types.is_timestamp(values.type):
            raise bad_file(head.path, f"column '{name}' holds no times", "export it again")
        micros = values.cast(pa.timestamp("us", values.type.tz), safe=False)
        found: int | None = pc.min(micros.cast(pa.int64())).as_py()
        return found

    told = (one for one in _read(head, name, first) if one is not None)
    return min(told, default=0) / 1e6


def _read(head: Head, name: str, what: Callable[[Any], T]) -> Iterator[T]:
    """Something of the values of one column, a part of them at a time.

    Raises:
        InputError: the file is damaged behind its head.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(str(head.path), **THRIFT) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=[name], use_threads=False):
                yield what(batch.column(0))
    except (pa.ArrowException, *DAMAGE) as error:
        raise bad_file(head.path, "the Parquet file is damaged", "export it again") from error


OWN = TraceFormat("servescope", "servescope's own Parquet export", _matches, _sources, _build)
