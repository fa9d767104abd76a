"""GuideLLM reports as JSON: benchmarks, each with successful, incomplete and errored requests.

Source: guidellm/schemas of GuideLLM 0.8. Times are seconds since 1970; "inter token latency" there
is our time per output token. Reports in YAML or CSV are not read.
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

_REQUEST = (
    "STRUCT(request_id VARCHAR, request_start_time DOUBLE, start_time DOUBLE, "
    "request_latency DOUBLE, time_to_first_token_ms DOUBLE, inter_token_latency_ms DOUBLE, "
    "prompt_tokens BIGINT, output_tokens BIGINT, cached_tokens BIGINT)"
)
_LISTS = (("successful", "ok"), ("incomplete", "aborted"), ("errored", "failed"))
_REQUESTS = ", ".join(f"{name} {_REQUEST}[]" for name, _ in _LISTS)


def _rows(name: str, status: str) -> str:
    return f"""flatten([[{{
      'state': '{status}', 'model': args.model,
      'started': coalesce(r.request_start_time, r.start_time), 'latency': r.request_latency,
      'ttft_ms': r.time_to_first_token_ms, 'tpot_ms': r.inter_token_latency_ms,
      'prompt': r.prompt_tokens, 'generated': r.output_tokens, 'cached': r.cached_tokens
    }} FOR r IN coalesce(b.requests.{name}, [])] FOR b IN benchmarks])"""


_UNNEST = "list_concat(" + ", ".join(_rows(name, status) for name, status in _LISTS) + ")"


def _matches(head: Head) -> bool:
    names = set(head.columns)
    return head.kind == "json" and ("guidellm_version" in names or {"benchmarks", "type_"} <= names)


def _sources(head: Head) -> tuple[str, ...]:
    name = stem(head)
    folder = head.path.absolute().parent.name.lower()
    return (f"guidellm-{folder}" if name == "benchmarks" and folder else f"guidellm-{name}",)


def _build(heads: Sequence[Head], name: str) -> BulkLoad:
    return BulkLoad(
        source=SourceSpec(
            name, "guidellm", "utc", clock_resolution_seconds=1e-6, time_zone="UTC"
        ),
        files=tuple(head.path for head in heads),
        reader="jsonl",
        whole=True,
        columns={
            "args": "STRUCT(model VARCHAR)",
            "benchmarks": f"STRUCT(requests STRUCT({_REQUESTS}))[]",
        },
        unnest=_UNNEST,
        select={
            "arrived_at": time_from_seconds("started"),
            "input_tokens": tokens("prompt"),
            "output_tokens": tokens("generated"),
            "cached_tokens": tokens("cached"),
            "ttft_seconds": "ttft_ms / 1000",
            "tpot_seconds": "tpot_ms / 1000",
            "decode_seconds": "latency - ttft_ms / 1000",
            "e2e_seconds": "latency",
        },
        labels={"model": "model"},
        status="state",
        checks=(
            CHECK_TIME,
            *token_checks("input_tokens", "output_tokens", "cached_tokens"),
            *seconds_checks("ttft_seconds", "tpot_seconds", "decode_seconds", "e2e_seconds"),
        ),
        numeric_time_seconds="started",
        units="times in seconds since 1970, lengths in tokens, latencies of the client",
        notes=("requests that were cut off when a benchmark ended are aborted",),
    )  # fmt: skip


GUIDELLM = TraceFormat(
    "guidellm",
    "GuideLLM report as JSON (benchmarks: requests: successful, incomplete, errored)",
    _matches,
    _sources,
    _build,
)
