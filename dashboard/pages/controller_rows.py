"""Controller: parts of tables that several of its panels use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dash import html

from dashboard.scene import Scene


def opener(row: Mapping[str, Any], scene: Scene) -> html.A:
    """The link to a decision."""
    href = scene.here(decision=str(row["decision_id"]), pool=row["pool"])
    return html.A(f"#{row['decision_id']}", href=href)
