"""ServeGen client files `chunk-<id>-trace.csv`: arrival rates per client, not requests.

Source: alibaba/ServeGen. No header; window start (s), rate (requests/s), CV of the gaps, family
(Gamma, Weibull or empty), shape, scale (s); windows follow one another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from collector.traces.expressions import time_from_seconds
from collector.traces.format import TraceFormat, clean_name
from collector.traces.head import Head
from store.bulk_spec import BulkLoad, Check, SourceSpec

FIELDS = 6
_NAME = re.compile(r"chunk-(.+)-trace\.csv(\.gz|\.zst)?$")
_CLIENT = r"regexp_extract(filename, 'chunk-([^/]+)-trace\.csv[^/]*$', 1)"
_DEFAULT_WINDOW_SECONDS = 600.0
_TIME = Check(
    "the window start is missing, negative or absurd",
    "{time} < TIMESTAMP '1970-01-01' OR {time} >= TIMESTAMP '2020-01-01'",
)
_RATE = Check(
    "the rate is missing, negative or not a number",
    "rate_per_second IS NULL OR rate_per_second < 0 OR NOT isfinite(rate_per_second)",
)
_CV = Check(
    "the variation is negative or not a number",
    "interarrival_cv < 0 OR NOT isfinite(interarrival_cv)",
)


def _matches(head: Head) -> bool:
    return (
        head.kind == "csv"
        and len(head.first) == FIELDS
        and _NAME.search(head.path.name) is not None
        and all(_is_number(head.first[at]) for at in (0, 1, 2))
    )


def _sources(head: Head) -> tuple[str, ...]:
    return (f"servegen-{clean_name(head.path.absolute().parent.name.lower())}",)


def _build(heads: Sequence[Head], name: str) -> BulkLoad:
    return BulkLoad(
        source=SourceSpec(name, "servegen", "relative", licence="Apache-2.0, alibaba/ServeGen"),
        files=tuple(head.path for head in heads),
        reader="csv",
        columns={"start": "DOUBLE", "rate": "DOUBLE", "cv": "DOUBLE", "kind": "VARCHAR",
                 "k": "DOUBLE", "theta": "DOUBLE"},
        select={
            "window_start_at": time_from_seconds("start"),
            "client": _CLIENT,
            "window_seconds": f"{_window_seconds(heads[0])}",
            "rate_per_second": "rate",
            # Without arrivals there is no variation and no family: unknown, not 0.
            "interarrival_cv": "CASE WHEN rate > 0 AND cv <> 0 THEN cv END",
            "family": "nullif(lower(trim(kind)), '')",
            "shape": "CASE WHEN trim(kind) <> '' THEN k END",
            "scale_seconds": "CASE WHEN trim(kind) <> '' THEN theta END",
        },
        checks=(_TIME, _RATE, _CV),
        header=False,
        table="client_rate",
        numeric_time_seconds="start",
        units="one row a client and window: requests/s, CV, family with shape and scale (s)",
        notes=("these are rates, not requests: only client and rate analyses apply",),
    )  # fmt: skip


def _window_seconds(head: Head) -> float:
    """The distance of the first two windows."""
    starts = [line.split(",")[0] for line in head.text.splitlines()[:2]]
    if len(starts) > 1 and all(map(_is_number, starts)):
        step = float(starts[1]) - float(starts[0])
        if 0 < step < float("inf"):
            return step
    return _DEFAULT_WINDOW_SECONDS


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


SERVEGEN = TraceFormat(
    "servegen",
    "ServeGen client files (chunk-<id>-trace.csv, six fields, no header)",
    _matches,
    _sources,
    _build,
)
