"""Azure LLM inference traces, 2023 and 2024: `TIMESTAMP,ContextTokens,GeneratedTokens`.

Source: Azure/AzurePublicDataset. Stamps are UTC with up to seven digits of fraction (100 ns); the
store keeps microseconds. Each published file is one service, so the route comes from its name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from collector.traces.expressions import CHECK_TIME, token_checks, tokens
from collector.traces.format import TraceFormat, stem
from collector.traces.head import Head
from store.bulk_spec import BulkLoad, SourceSpec

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_YEAR = re.compile(r"^(20\d\d)-", re.MULTILINE)
_LICENCE = "CC-BY-4.0, Azure/AzurePublicDataset"


def _matches(head: Head) -> bool:
    """Whether the header is Azure's."""
    return head.kind == "csv" and head.columns == COLUMNS


def _sources(head: Head) -> tuple[str, ...]:
    """`azure-2023-conv`, `azure-2024-code`; the file's own name where it tells no service."""
    year = _YEAR.search(head.text)
    route = _route(head.path)
    parts = ("azure", year[1] if year else "", route or stem(head))
    return ("-".join(part for part in parts if part),)


def _build(heads: Sequence[Head], name: str) -> BulkLoad:
    """The load of Azure files that belong to one service."""
    routes = {_route(head.path) for head in heads}
    route = routes.pop() if len(routes) == 1 else None
    return BulkLoad(
        source=SourceSpec(
            name, "azure", "utc", clock_resolution_seconds=1e-6, time_zone="UTC", licence=_LICENCE
        ),
        files=tuple(head.path for head in heads),
        reader="csv",
        columns={"TIMESTAMP": "TIMESTAMP", "ContextTokens": "UINTEGER",
                 "GeneratedTokens": "UINTEGER"},
        select={
            "arrived_at": "TIMESTAMP",
            "input_tokens": tokens("ContextTokens"),
            "output_tokens": tokens("GeneratedTokens"),
        },
        constant_labels={"route": route} if route else {},
        checks=(CHECK_TIME, *token_checks("input_tokens", "output_tokens")),
        delimiter=heads[0].delimiter,
        units="lengths in tokens; no latency, model or tenant in this format",
        notes=_notes(heads),
    )  # fmt: skip


def _route(path: Path) -> str | None:
    found = re.search(r"conv|code", path.name.lower())
    return found[0] if found else None


def _notes(heads: Sequence[Head]) -> tuple[str, ...]:
    if any(re.search(r"\.\d{7}", head.text) for head in heads):
        return ("stamps carry 100 ns digits; the store keeps microseconds",)
    return ()


AZURE = TraceFormat(
    "azure",
    "Azure LLM inference (TIMESTAMP,ContextTokens,GeneratedTokens)",
    _matches,
    _sources,
    _build,
)
