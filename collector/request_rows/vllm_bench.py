"""Results of `vllm bench serve --save-result --save-detailed`: one JSON document, a list a column.

Source: vllm/benchmarks/serve.py 0.32. `start_times` come from a clock of the process, so only the
differences mean something; latencies are those of the client.
"""

from __future__ import annotations

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
from collector.traces.head import Head, bad_file
from store.bulk_spec import BulkLoad, SourceSpec

_KEYS = {"backend", "model_id", "tokenizer_id", "num_prompts"}
_LISTS = ("input_lens", "output_lens", "ttfts", "itls", "start_times", "errors")
_OK = "coalesce(error, '') = ''"
# One row a request out of the lists, which all have the same length. Zipped first: whatever a loop
# over places names, such as the least of all start times, is worked out again for each of them.
_ROWS = """[[{
  'model': model_id,
  'input_len': row[1], 'output_len': row[2], 'ttft': row[3],
  'decode': list_sum(row[4]), 'latency': row[5],
  'since_start': row[6] - first_start,
  'error': row[7]
} FOR row IN list_zip(input_lens, output_lens, ttfts, itls, latencies, start_times, errors)
    [:len(start_times)]] FOR first_start IN [list_min(start_times)]][1]"""


def _matches(head: Head) -> bool:
    return head.kind == "json" and set(head.columns) >= _KEYS


def _sources(head: Head) -> tuple[str, ...]:
    name = stem(head)
    return (name if "vllm" in name else f"vllm-bench-{name}",)


def _build(heads: Sequence[Head], name: str) -> BulkLoad:
    for head in heads:
        _require_details(head)
    return BulkLoad(
        source=SourceSpec(name, "vllm-bench", "relative", clock_resolution_seconds=1e-6),
        files=tuple(head.path for head in heads),
        reader="jsonl",
        whole=True,
        columns={
            "model_id": "VARCHAR", "input_lens": "BIGINT[]", "output_lens": "BIGINT[]",
            "ttfts": "DOUBLE[]", "itls": "DOUBLE[][]", "start_times": "DOUBLE[]",
            "errors": "VARCHAR[]", "latencies": "DOUBLE[]",
        },
        unnest=_ROWS,
        select={
            "arrived_at": time_from_seconds("since_start"),
            "input_tokens": tokens("input_len"),
            "output_tokens": f"CASE WHEN {_OK} THEN {tokens('output_len')} END",
            "ttft_seconds": f"CASE WHEN {_OK} THEN ttft END",
            "decode_seconds": f"CASE WHEN {_OK} THEN coalesce(decode, 0) END",
            "tpot_seconds": f"CASE WHEN {_OK} AND output_len > 1 "
                "THEN decode / (output_len - 1) END",
            "e2e_seconds": f"CASE WHEN {_OK} THEN coalesce(latency, ttft + decode, ttft) END",
        },
        labels={"model": "model"},
        status=f"CASE WHEN {_OK} THEN 'ok' ELSE 'failed' END",
        checks=(
            CHECK_TIME,
            *token_checks("input_tokens", "output_tokens"),
            *required_checks("input_tokens"),
            *seconds_checks("ttft_seconds", "decode_seconds", "tpot_seconds", "e2e_seconds"),
        ),
        numeric_time_seconds="since_start",
        units="times in seconds from the first request, lengths in tokens, latencies of the client",
        notes=("the tool counts output tokens by tokenising the text again: a few more than made",),
    )  # fmt: skip


def _require_details(head: Head) -> None:
    """Without --save-detailed there are sums only; older releases leave the start times out."""
    import pyarrow as pa

    missing = {f'"{name}"'.encode() for name in _LISTS}
    tail = b""
    with head.path.open("rb") as file:
        magic = file.read(4)
    kinds = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd"}
    with pa.input_stream(str(head.path), compression=kinds.get(magic[:2])) as stream:
        while missing and (chunk := stream.read(1 << 20)):
            missing = {name for name in missing if name not in tail + chunk}
            tail = chunk[-32:]
    if missing:
        names = ", ".join(sorted(name.decode() for name in missing))
        raise bad_file(
            head.path,
            f"this result has no single requests in it ({names} missing)",
            "run vllm bench serve with --save-result --save-detailed, release 0.11 or newer",
        )


VLLM_BENCH = TraceFormat(
    "vllm-bench",
    "vllm bench serve result (--save-result --save-detailed JSON)",
    _matches,
    _sources,
    _build,
)
