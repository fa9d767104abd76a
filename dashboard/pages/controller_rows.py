"""Controller: parts of tables that several of its panels use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from dash import html

from dashboard.scene import Scene
from dashboard.tables import table

MOST_ROWS = 25


def opener(row: Mapping[str, Any], scene: Scene) -> html.A:
    """The link to a decision."""
    href = scene.here(decision=str(row["decision_id"]), pool=row["pool"])
    return html.A(f"#{row['decision_id']}", href=href)


def some_rows(frame: pl.DataFrame, scene: Scene, most: int = MOST_ROWS, **more: Any) -> list[Any]:
    """The first rows as a table; the rest is told: a page is for reading, the CSV has all."""
    shown: list[Any] = [table(frame.head(most), scene, **more)]
    if frame.height > most:
        words = f"{most} of {frame.height:,} rows; the CSV has them, or choose a shorter range."
        shown.append(html.P(words, className="ss-dim ss-foot"))
    return shown
