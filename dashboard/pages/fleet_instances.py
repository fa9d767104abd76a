"""The instances of the fleet page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from dash import html

from analysis.instances import OUTLIER_SCORE
from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools
from dashboard.narrowing import only
from dashboard.scene import Scene
from dashboard.text import number_text
from dashboard.theme import attrs

_ANSWERING = ("ready", "ok", "up")


def instances_card(view: View, scene: Scene) -> Slot | Unshown:
    """One cell an instance: how it is, and whether it is unlike its peers."""
    title = "Which instance stands out?"
    frame = view.frames.get("instances", pl.DataFrame())
    words = (
        "One cell for each instance. The outlier score is the distance from the median of its "
        f"same-model peers in robust deviations; beyond {OUTLIER_SCORE} it stands out."
    )
    if frame.is_empty():
        why = "A trace has no live instances." if not scene.is_live else "No engine is connected."
        return Unshown(title, why)
    cells = [_instance_cell(row, scene) for row in frame.iter_rows(named=True)]
    tools = frame_tools(view, "instances", title, words, scene)
    return card(
        title, html.Ul(cells, className="ss-instances"), span=8, tools=tools, key="instances"
    )


def _instance_cell(row: Mapping[str, Any], scene: Scene) -> html.Li:
    look, glyph, state = _instance_look(row)
    score = row.get("outlier_score")
    facts = [
        f"{number_text(row[column])} {word}"
        for column, word in (("requests_running", "running"), ("requests_waiting", "waiting"))
        if row.get(column) is not None
    ]
    if row.get("kv_cache_usage_ratio") is not None:
        facts.append(f"KV {row['kv_cache_usage_ratio'] * 100:.0f} %")
    if score is not None:
        facts.append(f"outlier {score:.1f}")
    version = " ".join(str(row[c]) for c in ("engine", "engine_version", "model") if row.get(c))
    parts = [
        html.Span(glyph, className="ss-glyph", **attrs({"aria-hidden": "true"})),
        html.Div(
            [
                html.A(
                    html.Strong(row["instance"]),
                    href=only("instance", row["instance"], scene, "latency"),
                ),
                html.Span(state, className="ss-state"),
                html.Div(version, className="ss-dim"),
                html.Div(
                    row.get("why") or " · ".join(facts) or "nothing reported", className="ss-facts"
                ),
            ]
        ),
    ]
    return html.Li(parts, className=f"ss-instance is-{look}")


def _instance_look(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Look, glyph and word: never colour alone."""
    state = str(row.get("state") or "unknown")
    if state not in (*_ANSWERING, "recorded"):
        return "down", "\N{MULTIPLICATION X}", state
    if (row.get("outlier_score") or 0.0) > OUTLIER_SCORE:
        return "outlier", "\N{BLACK UP-POINTING TRIANGLE}", "stands out"
    # Rows tell what an instance did, not whether it answers now.
    glyph = "\N{BLACK CIRCLE}" if state in _ANSWERING else "\N{WHITE CIRCLE}"
    return "fine", glyph, state
