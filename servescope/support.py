"""The support bundle: one file that helps somebody else to help, without what is nobody's business.

Only what is listed here as harmless goes out as it is. Any other text becomes a stable other name
within the bundle (`url-1`, `tenant-2`), so that rows still fit together; settings show numbers and
switches, of texts only whether they were set. No request row is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from servescope import introspection
from servescope.cli.configuration import versions
from servescope.runtime import Runtime
from store.errors import ServescopeError

VIEWS = ("admin", "signal_coverage", "jobs", "server")
# Columns of text that say what something is, never whose it is or where.
HARMLESS = frozenset(
    {
        "engine", "engine_version", "version", "state", "grade", "signal", "page", "kind", "format",
        "clock", "outcome", "job", "table", "coverage", "reason", "door", "status", "unit", "how",
        "slowest_view",
    }
)  # fmt: skip
HEALTH = ("status", "version", "uptime_seconds", "write_lag_seconds", "queued_rows")
_ORIGINS = ("default", "flag")


class Names:
    """Stable other names within one bundle."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}

    def of(self, kind: str, name: str) -> str:
        """`url-1` for the first one, and again whenever it is named."""
        key = (kind, name)
        if key not in self._known:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._known[key] = f"{kind}-{self._counts[kind]}"
        return self._known[key]


def bundle(runtime: Runtime, health: Mapping[str, Any]) -> dict[str, Any]:
    """Everything, with other names.

    Args:
        runtime: the process.
        health: as `/api/v1/health` tells it.
    """
    names, own = Names(), introspection.document(runtime)
    return {
        "schema": "servescope.support/1",
        "versions": versions(),
        "health": {key: health[key] for key in HEALTH} | {"failing": len(health["jobs_failing"])},
        "settings": [_setting(row) for row in own["settings"]],
        "numbers": [{"what": words, "value": value} for words, value, *_ in own["numbers"]],
        "reader": runtime.database.reader.stats(),
        "views": {name: _view(runtime, name, names) for name in VIEWS},
    }


def _setting(row: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and switches as they are; of anything else whether it was set, and from where."""
    is_default = row["origin"] == "default"
    is_plain = isinstance(row["value"], bool | int | float)
    value = row["value"] if is_plain else ("(default)" if is_default else "(set)")
    origin = row["origin"] if row["origin"] in _ORIGINS else "file or environment"
    return {"setting": f"{row['section']}.{row['key']}", "value": value, "origin": origin}


def _view(runtime: Runtime, name: str, names: Names) -> dict[str, Any]:
    try:
        view = runtime.view(name, {})
    except ServescopeError as error:
        return {"failed": type(error).__name__}
    return {
        "measures": {key: measure.value for key, measure in view.measures.items()},
        "frames": {key: _rows(frame, names) for key, frame in view.frames.items()},
    }


def _rows(frame: pl.DataFrame, names: Names) -> list[dict[str, Any]]:
    return [
        {column: _hidden(column, value, names) for column, value in row.items()}
        for row in frame.iter_rows(named=True)
    ]


def _hidden(column: str, value: Any, names: Names) -> Any:
    if isinstance(value, str):
        return value if column in HARMLESS or not value else names.of(column, value)
    if isinstance(value, list | dict):
        return f"{len(value)} items"
    return value
