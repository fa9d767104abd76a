"""Runs of reports as they are kept, and as they are worked with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC
from typing import Any

import polars as pl


def details_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a made report in its row: enough to list it."""
    names = ("title", "words", "charts", "sections", "bytes", "lines")
    files = [one for one in manifest["files"] if one["role"] == "report"]
    return {**{name: manifest[name] for name in names}, "files": files}


def runs(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows of runs with their JSON read and their times aware."""
    found = []
    for row in frame.iter_rows(named=True):
        times = {name: row[name].replace(tzinfo=UTC) if row[name] else None
                 for name in ("asked_at", "due_at", "changed_at")}  # fmt: skip
        texts = {name: json.loads(row[name]) if row[name] else {}
                 for name in ("details", "definition")}  # fmt: skip
        found.append({**row, **times, **texts})
    return found
