"""Admin's part about coverage: which signal each connected engine tells, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools, grid, verdict
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.text import heading
from dashboard.theme import attrs

# state -> look, glyph, word
STATE_LOOKS = {
    "exact": ("good", "●", "exact"),
    "derived": ("good", "◆", "derived"),
    "quiet": ("none", "○", "not yet"),
    "absent": ("none", "\N{EN DASH}", "absent"),
}
_TITLE = "Which signal does each engine tell?"
_WORDS = (
    "Exact: exposed as such, converted to our unit. Derived: worked out by the formula. Not yet:"
    " the engine tells it once it happens or is switched on. Absent: it does not tell it."
)


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """One matrix: signals by engine and release."""
    if view is None:
        return []
    parts = [verdict(view.sentences, key="coverage"), grid(_matrix(view, scene))]
    return [part for part in parts if part is not None]


def _matrix(view: View, scene: Scene) -> Slot | Unshown:
    frame = view.frames.get("signals", pl.DataFrame())
    if frame.is_empty():
        return Unshown(_TITLE, "No engine is connected, or none that has an adapter.")
    columns = frame.select("engine", "engine_version").unique(maintain_order=True).rows()
    cells = {
        (row["signal"], (row["engine"], row["engine_version"])): row
        for row in frame.iter_rows(named=True)
    }
    # A signal that none of the connected engines tells would only make the matrix long.
    known = frame.filter(pl.col("state") != "absent")["signal"].unique(maintain_order=True)
    more = frame["signal"].n_unique() - known.len()
    heads = [html.Th(" ".join(filter(None, column)), scope="col") for column in columns]
    rows = [
        html.Tr(
            [
                html.Th(heading(signal), scope="row", title=signal),
                *(html.Td(_cell(cells.get((signal, column)))) for column in columns),
            ]
        )
        for signal in known
    ]
    shown = html.Div(
        html.Table(
            [
                html.Caption(_TITLE, className="ss-visually-hidden"),
                html.Thead(html.Tr([html.Th("Signal", scope="col"), *heads])),
                html.Tbody(rows),
            ],
            className="ss-table",
        ),
        className="ss-table-wrap",
        tabIndex=0,
        role="group",
        **attrs({"aria-label": _TITLE}),
    )
    if more:
        words = f"{more} more signals are told by none of them; why is in the table of the API."
        shown = html.Div([shown, html.P(words, className="ss-dim ss-foot")])
    tools = frame_tools(view, "signals", _TITLE, _WORDS, scene)
    return card(_TITLE, shown, span=12, tools=tools, key="signal-coverage")


def _cell(row: Mapping[str, Any] | None) -> Any:
    if row is None:
        return "\N{EN DASH}"
    look, glyph, word = STATE_LOOKS.get(row["state"], ("none", "○", str(row["state"])))
    told = f", {row['told_by']} of {row['targets']}" if 0 < row["told_by"] < row["targets"] else ""
    return [
        html.Span(
            [html.Span(glyph, **attrs({"aria-hidden": "true"})), f" {word}{told}"],
            className=f"ss-status is-{look}",
        ),
        html.Div(row["how"], className="ss-dim"),
    ]
