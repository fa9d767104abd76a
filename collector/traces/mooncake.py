"""Mooncake traces: JSON lines with `timestamp` (ms), lengths (tokens) and block hashes.

Source: kvcache-ai/Mooncake. One hash stands for 512 tokens of prompt prefix.
"""

from __future__ import annotations

from collections.abc import Sequence

from collector.traces.expressions import (
    CHECK_TIME,
    required_checks,
    scaled,
    time_from_seconds,
    token_checks,
    tokens,
)
from collector.traces.format import TraceFormat, stem
from collector.traces.head import Head
from store.bulk_spec import BulkLoad, SourceSpec

COLUMNS = ("timestamp", "input_length", "output_length", "hash_ids")
BLOCK_TOKENS = 512


def _matches(head: Head) -> bool:
    if head.kind != "json":
        return False
    if head.columns:
        return set(COLUMNS) <= set(head.columns)
    # A first line with very many hashes does not fit the head.
    return all(f'"{column}"' in head.text for column in COLUMNS)


def _sources(head: Head) -> tuple[str, ...]:
    name = stem(head).removesuffix("_trace").replace("_", "-")
    return (name if name.startswith("mooncake") else f"mooncake-{name}",)


def _build(heads: Sequence[Head], name: str) -> BulkLoad:
    seconds = scaled("timestamp", "ms")
    return BulkLoad(
        source=SourceSpec(
            name,
            "mooncake",
            "relative",
            clock_resolution_seconds=1e-3,
            prefix_block_tokens=BLOCK_TOKENS,
            licence="Apache-2.0, kvcache-ai/Mooncake",
        ),
        files=tuple(head.path for head in heads),
        reader="jsonl",
        columns={
            "timestamp": "DOUBLE",
            "input_length": "BIGINT",
            "output_length": "BIGINT",
            "hash_ids": "UBIGINT[]",
        },
        select={
            "arrived_at": time_from_seconds(seconds),
            "input_tokens": tokens("input_length"),
            "output_tokens": tokens("output_length"),
        },
        blocks="hash_ids",
        checks=(
            CHECK_TIME,
            *token_checks("input_tokens", "output_tokens"),
            *required_checks("input_tokens", "output_tokens"),
        ),
        numeric_time_seconds=seconds,
        units=f"times in milliseconds, lengths in tokens, prefix blocks of {BLOCK_TOKENS} tokens",
    )


MOONCAKE = TraceFormat(
    "mooncake",
    "Mooncake JSONL (timestamp,input_length,output_length,hash_ids)",
    _matches,
    _sources,
    _build,
)
