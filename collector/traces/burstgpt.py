"""BurstGPT traces, both published column sets.

Source: HPMLL/BurstGPT. Seconds from a midnight of an unknown zone; no dates. A request with no
response tokens failed: it is kept as a failure.
"""

from __future__ import annotations

from collections.abc import Sequence

from collector.traces.expressions import (
    CHECK_TIME,
    quoted,
    scaled,
    seconds_checks,
    time_from_seconds,
    token_checks,
    tokens,
)
from collector.traces.format import TraceFormat, stem
from collector.traces.head import Head
from store.bulk_spec import BulkLoad, SourceSpec

REQUIRED = ("Timestamp", "Model", "Request tokens", "Response tokens")
_TYPES = {
    "Timestamp": "DOUBLE",
    "Session ID": "VARCHAR",
    "Elapsed time": "DOUBLE",
    "Model": "VARCHAR",
    "Request tokens": "UINTEGER",
    "Response tokens": "UINTEGER",
    "Total tokens": "UINTEGER",
    "Log Type": "VARCHAR",
}


def _matches(head: Head) -> bool:
    return head.kind == "csv" and set(REQUIRED) <= set(head.columns)


def _sources(head: Head) -> tuple[str, ...]:
    name = stem(head)
    return (name if name.startswith("burstgpt") else f"burstgpt-{name}",)


def _build(heads: Sequence[Head], name: str) -> BulkLoad:
    columns = heads[0].columns
    select = {
        "arrived_at": time_from_seconds('"Timestamp"'),
        "input_tokens": tokens('"Request tokens"'),
        "output_tokens": tokens('"Response tokens"'),
    }
    if "Elapsed time" in columns:
        select["e2e_seconds"] = scaled('"Elapsed time"', "s")
    labels = {"model": '"Model"'}
    if "Log Type" in columns:
        labels["route"] = '"Log Type"'
    return BulkLoad(
        source=SourceSpec(name, "burstgpt", "local_unknown", licence="CC-BY-4.0, HPMLL/BurstGPT"),
        files=tuple(head.path for head in heads),
        reader="csv",
        columns={column: _TYPES.get(column, "VARCHAR") for column in columns},
        select=select,
        labels=labels,
        status="CASE WHEN \"Response tokens\" = 0 THEN 'failed' ELSE 'ok' END",
        session=quoted("Session ID") if "Session ID" in columns else None,
        checks=(
            CHECK_TIME,
            *token_checks("input_tokens", "output_tokens"),
            *(seconds_checks("e2e_seconds") if "e2e_seconds" in select else ()),
        ),
        delimiter=heads[0].delimiter,
        numeric_time_seconds='"Timestamp"',
        units="times in seconds from a midnight without a date, lengths in tokens",
        notes=("requests with 0 response tokens are kept as failures",),
    )


BURSTGPT = TraceFormat(
    "burstgpt",
    "BurstGPT (Timestamp,Model,Request tokens,Response tokens,...)",
    _matches,
    _sources,
    _build,
)
