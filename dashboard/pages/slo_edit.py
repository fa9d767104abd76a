"""The objectives as text: a draft is tried on history before it is saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import Dash, Input, Output, State, dcc, html, no_update

from analysis.measure import View
from dashboard.cards import card, grid
from dashboard.forms import button, who_field
from dashboard.scene import Scene, scene_of
from dashboard.services import Services
from dashboard.slo_desk import MOST_DRAFT
from dashboard.tables import table
from dashboard.text import number_text
from dashboard.theme import attrs
from dashboard.url_state import parse
from store.errors import ServescopeError
from store.units import percent_text

TITLE = "How are the objectives written?"
RESULT_TITLE = "What would the draft have meant?"
_ABOUT = (
    "This is slo.toml. Try a draft on what is stored before you save it: every objective is judged "
    "on the same requests, over its own window, as it is and as it would be."
)
_COLUMNS = ("name", "change", "attainment", "budget", "attempted_draft", "status_draft")
_HEADS = {
    "name": "Objective",
    "change": "Change",
    "attainment": "Attainment, now and drafted",
    "budget": "Budget left, now and drafted",
    "attempted_draft": "Attempts",
    "status_draft": "It would be",
}


def edit_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """The text, folded away until somebody wants it."""
    desk = services.objectives
    if desk is None:
        return []
    try:
        told = desk.read()
    except ServescopeError as error:
        inside: Any = html.P(str(error), className="ss-dim")
    else:
        inside = html.Details([html.Summary("Show and edit the text"), _form(told)])
    return [grid(card(TITLE, inside, key="slo-edit"), key="slo-edit")]


def _form(told: Mapping[str, Any]) -> html.Div:
    text = dcc.Textarea(
        id="slo-draft", name="draft", value=told["text"], className="ss-code", rows=18,
        spellCheck=False, maxLength=MOST_DRAFT,
    )  # fmt: skip
    save = button(
        "Save", {"act": "slo_save", "version": told["version"]}, is_held=True,
        label="Write the draft to the file and put it in force",
    )  # fmt: skip
    attempt = html.Button("Try on history", id="slo-draft-try", type="button",
                          className="ss-button is-primary")  # fmt: skip
    problem = [html.P(f"Not in force: {told['problem']}", className="ss-why")]
    parts = [
        html.P([_ABOUT, " It is kept at ", html.Code(told["place"]), "."], className="ss-dim"),
        *(problem if told["problem"] else []),
        html.Label([html.Span("Objectives, TOML", className="ss-dim"), text]),
        html.Div([attempt, who_field("slo-edit"), save], className="ss-row"),
        html.Div(id="slo-draft-result", **attrs({"aria-live": "polite"})),
    ]
    return html.Div(parts, className="ss-act")


def result(told: Mapping[str, Any], scene: Scene) -> list[Any]:
    """Mistakes with their lines; or each objective as it is and as it would be."""
    said = [html.Li(_problem_words(one)) for one in told["problems"]]
    parts: list[Any] = [html.Ul(said, className="ss-why")] if said else []
    if any(one["severity"] == "error" for one in told["problems"]):
        return [
            html.P("The draft has mistakes; nothing was judged.", className="ss-strong"),
            *parts,
        ]
    if not told["rows"]:
        return [*parts, html.P("Neither the file nor the draft has an objective.")]
    frame = pl.DataFrame(told["rows"], infer_schema_length=None)
    cells = {
        "name": lambda row: html.Strong(row["name"]),
        "attainment": lambda row: _beside(row, "attainment_ratio"),
        "budget": lambda row: _beside(row, "budget_left_ratio"),
        "status_draft": lambda row: row["status_draft"] or "gone",
        "attempted_draft": lambda row: _count(row["attempted_draft"]),
    }
    shown = frame.with_columns(attainment=pl.lit(""), budget=pl.lit(""))
    return [
        *parts,
        table(shown, scene, columns=_COLUMNS, cells=cells, heads=_HEADS, caption=RESULT_TITLE),
    ]


def _problem_words(one: Mapping[str, Any]) -> str:
    advice = f" ({one['hint']})" if one["hint"] else ""
    return f"{one['severity']} at {one['where']}: {one['message']}{advice}"


def _beside(row: Mapping[str, Any], name: str) -> str:
    before, after = row[f"{name}_now"], row[f"{name}_draft"]
    return f"{_share(before)} \N{RIGHTWARDS ARROW} {_share(after)}"


def _share(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else percent_text(value, 2)


def _count(value: int | None) -> str:
    return "\N{EN DASH}" if value is None else number_text(value)


def register(app: Dash, services: Services, prefix: str) -> None:
    """The button that tries a draft."""
    desk = services.objectives
    if desk is None:
        return

    @app.callback(
        Output("slo-draft-result", "children"),
        Input("slo-draft-try", "n_clicks"),
        State("slo-draft", "value"),
        State("shell-url", "pathname"),
        State("shell-url", "search"),
        prevent_initial_call=True,
    )
    def tried(clicks: int | None, text: str | None, pathname: str, search: str) -> Any:
        if not clicks:
            return no_update
        scene = scene_of(services, parse(pathname, search, prefix), prefix)
        try:
            return result(desk.tried(text or "", scene.address.params), scene)
        except ServescopeError as error:
            return [html.P(str(error), className="ss-why")]
