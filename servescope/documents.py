"""Views and frames as plain JSON values: the one form that API, CLI and server-to-CLI share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import polars as pl

from analysis.measure import View
from servescope.json_text import to_json
from store.queries.scope import Scope, SourceInfo


def plain(value: Any) -> Any:
    """The value as a JSON reader would see it."""
    return orjson.loads(to_json(value))


def view_document(view: View, catalog: list[SourceInfo], *, rows: bool = True) -> dict[str, Any]:
    """A view with its numbers.

    Args:
        view: what was computed.
        catalog: to give sources by name.
        rows: False leaves the rows of the frames out and gives their columns and heights only.
    """
    frames = {
        name: {
            "columns": frame.columns,
            "row_count": frame.height,
            "total_count": view.total(name),
            **({"rows": frame.to_dicts()} if rows else {}),
        }
        for name, frame in view.frames.items()
    }
    return {
        "view": view.name,
        "scope": scope_document(view.scope, catalog),
        "computed_at": view.computed_at,
        "sentences": list(view.sentences),
        "empty": dataclasses.asdict(view.empty) if view.empty else None,
        "measures": {name: dataclasses.asdict(item) for name, item in view.measures.items()},
        "frames": frames,
    }


def scope_document(scope: Scope, catalog: list[SourceInfo]) -> dict[str, Any]:
    """A scope by names: sources, range, clock and labels."""
    chosen = [source for source in catalog if source.source_id in scope.source_ids]
    return {
        "sources": [source.name for source in chosen],
        "clock": chosen[0].clock if chosen else "utc",
        "from": scope.start,
        "to": scope.end,
        "model": list(scope.models),
        "tenant": list(scope.tenants),
        "route": list(scope.routes),
        "instance": list(scope.instances),
    }


def source_document(source: SourceInfo) -> dict[str, Any]:
    """A source as the API shows it."""
    return dataclasses.asdict(source)


def frame_rows(document: Mapping[str, Any], frame: str) -> list[dict[str, Any]]:
    """Rows of a frame in a view document; empty when it has none."""
    found: list[dict[str, Any]] = document["frames"].get(frame, {}).get("rows", [])
    return found


def csv_safe(frame: pl.DataFrame) -> pl.DataFrame:
    """A frame that can be written as CSV and opened in a spreadsheet.

    Lists become JSON text, and a text that a spreadsheet would run as a formula gets a leading
    apostrophe. Source: OWASP, CSV injection.
    """
    columns: list[pl.Expr | pl.Series] = []
    for name, kind in frame.schema.items():
        column = pl.col(name)
        if kind.is_nested():
            columns.append(_json_text(frame[name]))
            continue
        if kind in (pl.Categorical, pl.Enum):
            column, kind = column.cast(pl.String), pl.String()
        if kind == pl.String:
            risky = column.str.contains(r"^[=+\-@\t\r]")
            column = pl.when(risky).then(pl.lit("'") + column).otherwise(column).alias(name)
        columns.append(column)
    return frame.select(columns)


def _json_text(series: pl.Series) -> pl.Series:
    texts = [None if item is None else to_json(item).decode() for item in series.to_list()]
    return pl.Series(series.name, texts, dtype=pl.String)


def naive(at: datetime) -> datetime:
    """An aware time as frames carry it."""
    return at.astimezone(UTC).replace(tzinfo=None)
