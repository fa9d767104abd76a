"""AIPerf `profile_export.jsonl`: one record a request with metadata, metrics and error.

Source: docs/tutorials/working-with-profile-exports.md of AIPerf 0.13. Times are nanoseconds since
1970, every metric carries its unit.
"""

from __future__ import annotations

from collections.abc import Sequence

from collector.traces.expressions import (
    CHECK_TIME,
    seconds_checks,
    time_from_seconds,
    token_checks,
    tokens,
)
from collector.traces.format import TraceFormat, stem
from collector.traces.head import Head
from store.bulk_spec import BulkLoad, SourceSpec

_METADATA = (
    "STRUCT(x_request_id VARCHAR, x_correlation_id VARCHAR, request_start_ns BIGINT, "
    "benchmark_phase VARCHAR, was_cancelled BOOLEAN)"
)
_WORD = "concat_ws(' ', CAST(error.code AS VARCHAR), error.\"type\")"


def _matches(head: Head) -> bool:
    return {"metadata", "metrics"} <= set(head.columns) and '"request_start_ns"' in head.text


def _sources(head: Head) -> tuple[str, ...]:
    """Every run writes the same file name: its folder tells them apart."""
    name = stem(head)
    folder = head.path.absolute().parent.name.lower()
    return (f"aiperf-{folder}" if name == "profile_export" and folder else f"aiperf-{name}",)


def _seconds(metric: str) -> str:
    """A metric in seconds, whatever its unit; a wrong unit becomes a value that is refused."""
    value = f"TRY_CAST(metrics->>'$.{metric}.value' AS DOUBLE)"
    return (
        f"CASE coalesce(metrics->>'$.{metric}.unit', 'ms') WHEN 'ms' THEN {value} / 1000 "
        f"WHEN 's' THEN {value} WHEN 'sec' THEN {value} WHEN 'us' THEN {value} / 1000000 "
        f"WHEN 'ns' THEN {value} / 1000000000 ELSE 'nan'::DOUBLE END"
    )


def _tokens(*metrics: str) -> str:
    values = ", ".join(f"TRY_CAST(metrics->>'$.{one}.value' AS BIGINT)" for one in metrics)
    return tokens(f"coalesce({values})")


def _build(heads: Sequence[Head], name: str) -> BulkLoad:
    tpot, ttft = _seconds("inter_token_latency"), _seconds("time_to_first_token")
    return BulkLoad(
        source=SourceSpec(
            name, "aiperf", "utc", clock_resolution_seconds=1e-6, time_zone="UTC"
        ),
        files=tuple(head.path for head in heads),
        reader="jsonl",
        columns={
            "metadata": _METADATA,
            "metrics": "JSON",
            "error": 'STRUCT(code BIGINT, "type" VARCHAR)',
        },
        where="coalesce(metadata.benchmark_phase, '') <> 'warmup'",
        select={
            "arrived_at": time_from_seconds("metadata.request_start_ns / 1e9"),
            "input_tokens": _tokens("input_sequence_length", "error_isl"),
            "output_tokens": _tokens("output_sequence_length", "output_token_count"),
            "ttft_seconds": ttft,
            "tpot_seconds": tpot,
            "decode_seconds": f"{_seconds('request_latency')} - {ttft}",
            "e2e_seconds": _seconds("request_latency"),
        },
        labels={"finish_reason": f"CASE WHEN error IS NOT NULL THEN {_WORD} END"},
        status="CASE WHEN metadata.was_cancelled OR error.code = 499 THEN 'aborted' "
        "WHEN error.code IN (429, 503) THEN 'refused' "
        "WHEN error IS NOT NULL THEN 'failed' ELSE 'ok' END",
        session="metadata.x_correlation_id",
        checks=(
            CHECK_TIME,
            *token_checks("input_tokens", "output_tokens"),
            *seconds_checks("ttft_seconds", "tpot_seconds", "decode_seconds", "e2e_seconds"),
        ),
        numeric_time_seconds="metadata.request_start_ns / 1e9",
        units="times in nanoseconds since 1970, lengths in tokens, latencies of the client",
        notes=("records of the warm-up are left out",),
    )  # fmt: skip


AIPERF = TraceFormat(
    "aiperf",
    "AIPerf profile_export.jsonl (metadata, metrics, error)",
    _matches,
    _sources,
    _build,
)
