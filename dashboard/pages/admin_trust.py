"""Admin's part about trust: which signals may be used, why not the others, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, card, frame_tools, grid, verdict
from dashboard.row_counts import SHORTER
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import ROW_LIMIT, Cell, table
from dashboard.text import ago, when
from dashboard.theme import attrs

# grade -> look, glyph, word
GRADE_LOOKS = {
    "fresh": ("good", "●", "fresh"),
    "idle": ("good", "○", "idle"),
    "reset": ("watch", "↺", "restarted"),
    "partial": ("watch", "◐", "partial"),
    "stale": ("watch", "◔", "stale"),
    "absent": ("watch", "∅", "absent"),
    "frozen": ("bad", "❄", "frozen"),
    "two_scrapers": ("bad", "⇄", "two scrapers"),
    "impossible": ("bad", "✕", "impossible"),
    "silent": ("bad", "✕", "silent"),
}
_WELL = ("fresh", "idle")
_NO_TARGET = "No target has been read yet, so nothing is graded."


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """Grades of targets and signals, how they came about, and what doors left out."""
    if view is None:
        return []
    parts = [
        verdict(view.sentences, tone=_tone(view), key="trust"),
        grid(
            _targets(view, scene),
            _signals(view, scene),
            _drops(view, scene),
            _history(view, scene),
        ),
    ]
    return [part for part in parts if part is not None]


def _tone(view: View) -> str:
    grades = view.frames["targets"]["grade"].to_list() + view.frames["signals"]["grade"].to_list()
    return "plain" if all(grade in _WELL for grade in grades) else "bad"


def grade_cell(row: Mapping[str, Any]) -> html.Span:
    """A grade as a chip; its word says what its colour says."""
    look, glyph, word = GRADE_LOOKS.get(row["grade"], ("none", "○", str(row["grade"])))
    return html.Span(
        [html.Span(glyph, **attrs({"aria-hidden": "true"})), f" {word}"],
        className=f"ss-status is-{look}",
    )


def _words(column: str, look: str = "") -> Cell:
    return lambda row: html.Span(row[column] or "", className=look)


def _cells(scene: Scene) -> dict[str, Cell]:
    return {
        "target": lambda row: html.A(row["target"], href=scene.here(instance=row["instance"])),
        "grade": grade_cell,
        "since": lambda row: _since(row["since"], scene),
        "at": lambda row: when(row["at"], scene.zone),
        "evidence": _words("evidence"),
        "advice": _words("advice", "ss-dim"),
        "example": _words("example", "ss-dim"),
    }


def _since(at: datetime | None, scene: Scene) -> Any:
    if at is None:
        return "\N{EN DASH}"
    seconds = max((scene.now - at.replace(tzinfo=UTC)).total_seconds(), 0.0)
    return html.Span(ago(seconds), title=when(at, scene.zone))


def _targets(view: View, scene: Scene) -> Slot:
    title = "Which targets can be trusted?"
    words = (
        "The grade of a target stands above those of its signals. Idle is zero demand: it answers"
        " and has nothing to do. Silent is unknown demand: nobody answers."
    )
    cells = {
        **_cells(scene),
        "usable_signals": lambda row: f"{row['usable_signals']} of {row['signals']}",
    }
    columns = ("target", "engine", "grade", "since", "usable_signals", "evidence", "advice")
    return _card(view, scene, "targets", title, words, columns, cells, _NO_TARGET)


def _signals(view: View, scene: Scene) -> Slot:
    title = "What does each signal say about itself?"
    words = (
        "Every signal that a target has ever shown, the worst first. A decision may rest on fresh"
        " and idle ones, and on gauges after a restart; never on the others."
    )
    columns = ("target", "signal", "grade", "since", "evidence", "advice")
    return _card(view, scene, "signals", title, words, columns, _cells(scene), _NO_TARGET)


def _drops(view: View, scene: Scene) -> Slot:
    title = "What was not taken at the doors?"
    words = "Rows, samples and requests that were refused or left out in the last 24 hours."
    heads = ("door", "reason", "dropped", "last_at", "example")
    cells = {
        **_cells(scene),
        "last_at": lambda row: when(row["last_at"], scene.zone),
    }
    why = "Nothing was refused or left out in the last 24 hours."
    others = "the store the others (table ingest_drop)"
    return _card(view, scene, "drops", title, words, heads, cells, why, others=others)


def _history(view: View, scene: Scene) -> Slot:
    title = "Which grades changed?"
    words = "One row a change in the range shown; a grade holds until the next one."
    columns = ("at", "url", "signal", "grade", "evidence")
    why = "No grade changed in the range shown."
    cells = {
        **_cells(scene),
        "signal": lambda row: row["signal"] or html.Span("the whole target", className="ss-dim"),
    }
    return _card(view, scene, "history", title, words, columns, cells, why, most=50)


def _card(
    view: View,
    scene: Scene,
    name: str,
    title: str,
    words: str,
    columns: Sequence[str],
    cells: Mapping[str, Cell],
    why: str,
    most: int = ROW_LIMIT,
    others: str = SHORTER,
) -> Slot:
    frame = view.frames.get(name, pl.DataFrame())
    if frame.is_empty():
        return card(title, html.P(why, className="ss-dim"), span=12, key=f"trust-{name}")
    shown = table(
        frame, scene, columns=columns, cells=cells, caption=title, most=most,
        total=view.total(name), others=others,
    )  # fmt: skip
    tools = frame_tools(view, name, title, words, scene)
    return card(title, shown, span=12, tools=tools, key=f"trust-{name}")
