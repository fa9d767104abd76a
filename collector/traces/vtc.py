"""Results of the VTC fairness benchmark: one JSON line a run, with a list of responses.

Source: Ying1123/VTC-artifact. `adapter_dir` is the client, hence the tenant. A negative
`first_token_latency` marks a refused request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from collector.traces.expressions import (
    CHECK_TIME,
    required_checks,
    seconds_checks,
    time_from_seconds,
    token_checks,
    tokens,
)
from collector.traces.format import TraceFormat, stem
from collector.traces.head import Head
from store.bulk_spec import BulkLoad, SourceSpec

_RESPONSE = (
    "STRUCT(adapter_dir VARCHAR, prompt_len BIGINT, output_len BIGINT, request_latency DOUBLE, "
    "first_token_latency DOUBLE, req_time DOUBLE)"
)
_SERVED = "first_token_latency >= 0"


def _matches(head: Head) -> bool:
    return head.kind == "json" and '"result"' in head.text and '"adapter_dir"' in head.text


def _sources(head: Head) -> tuple[str, ...]:
    """`vtc-fcfs-overload`: the scheduler is the folder, the scenario the file."""
    scenario = stem(head).removeprefix("all_results_")
    folder = head.path.absolute().parent.name.lower()
    name = re.sub(r"[^a-z0-9]+", "-", f"vtc-{folder}-{scenario}")
    return (name.strip("-"),)


def _build(heads: Sequence[Head], name: str) -> BulkLoad:
    return BulkLoad(
        source=SourceSpec(
            name, "vtc", "relative", licence="Apache-2.0, Ying1123/VTC-artifact"
        ),
        files=tuple(head.path for head in heads),
        reader="jsonl",
        columns={"result": f"STRUCT(responses {_RESPONSE}[])"},
        unnest="result.responses",
        select={
            "arrived_at": time_from_seconds("req_time"),
            "input_tokens": tokens("prompt_len"),
            "output_tokens": f"CASE WHEN {_SERVED} THEN {tokens('output_len')} END",
            "ttft_seconds": f"CASE WHEN {_SERVED} THEN first_token_latency END",
            "decode_seconds":
                f"CASE WHEN {_SERVED} THEN request_latency - first_token_latency END",
            # Time per output token after the first; unknown for fewer than two tokens.
            "tpot_seconds": f"CASE WHEN {_SERVED} AND output_len >= 2 "
                "THEN (request_latency - first_token_latency) / (output_len - 1) END",
            "e2e_seconds": f"CASE WHEN {_SERVED} THEN request_latency END",
        },
        labels={"tenant": "adapter_dir"},
        status="CASE WHEN first_token_latency < 0 THEN 'refused' ELSE 'ok' END",
        checks=(
            CHECK_TIME,
            *token_checks("input_tokens", "output_tokens"),
            *required_checks("input_tokens"),
            *seconds_checks("ttft_seconds", "e2e_seconds", "decode_seconds"),
        ),
        numeric_time_seconds="req_time",
        units="times in seconds, lengths in tokens, tenant is the adapter",
        notes=("a negative first-token latency means that the request was refused",),
    )  # fmt: skip


VTC = TraceFormat(
    "vtc",
    "VTC results, one JSON line a run ({config, result: {responses: [...]}})",
    _matches,
    _sources,
    _build,
)
