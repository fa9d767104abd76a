"""Predictors: the registry of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools, grid, verdict
from dashboard.forms import button, field, who_field
from dashboard.navigation import Panel
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import table
from dashboard.text import number_text
from store.units import percent_text, signed_percent_text

STATE_LOOKS = {"champion": ("good", "★"), "challenger": ("none", "○")}
# Champions first: a year of trainings is in the CSV.
MOST_ROWS = 50
_MODELS_ABOUT = (
    "The champion of each predictor answers; challengers wait. Losses and coverage are of rows "
    "the model never saw, beside the naive rival on the same rows. Making a challenger champion "
    "needs a reason; who did it and why is kept in the record of changes, as by `servescope "
    "predictors promote MODEL`."
)
_SCORES_ABOUT = (
    "Every score a model was registered with, on rows held out by time or by group; never on rows "
    "it learnt from."
)


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """Champions and challengers, then their scores."""
    if view is None or view.empty is not None:
        return []
    parts: list[Any] = [verdict(view.sentences, key="models")]
    if view.frames["models"].height:
        made = _models(view, scene, services)
        parts.append(grid(made, _scores(view, scene), key="models"))
    return [part for part in parts if part is not None]


def _models(view: View, scene: Scene, services: Services) -> Slot:
    title = "Which model answers, and until when did it learn?"
    frame = view.frames["models"]
    columns: Sequence[str] = (
        "state", "predictor", "model_id", "trained_at", "data_until", "rows", "pinball",
        "skill_ratio", "coverage_q90", "n", "act",
    )  # fmt: skip
    heads = {
        "state": "",
        "model_id": "Model",
        "data_until": "Learnt until",
        "pinball": "Loss (rival's)",
        "skill_ratio": "Skill",
        "coverage_q90": "Below q90",
        "n": "Judged on",
        "act": "",
    }
    cells = {
        "state": _state,
        "pinball": _losses,
        "skill_ratio": _skill,
        "coverage_q90": lambda row: percent_text(row["coverage_q90"]),
        "predictor": lambda row: html.Strong(row["predictor"], className="ss-nowrap"),
        "model_id": lambda row: html.Span(row["model_id"], className="ss-nowrap"),
    }
    champions = {row["predictor"]: row["model_id"] for row in frame.to_dicts()
                 if row["is_champion"]}  # fmt: skip
    can_act = services.models is not None and len(champions) < frame.height
    if can_act:
        refused = services.models.refused() if services.models else {}
        cells["act"] = lambda row: _make_champion(
            row, champions.get(row["predictor"]), refused.get(row["model_id"], "")
        )
    else:
        columns = columns[:-1]
    shown: Any = table(
        frame, scene, columns=columns, cells=cells, heads=heads, caption=title, most=MOST_ROWS
    )
    if can_act:
        listed = [row["model_id"] for row in frame.to_dicts() if not row["is_champion"]]
        shown = _form(shown, {one: refused[one] for one in listed if one in refused})
    tools = frame_tools(view, "models", title, _MODELS_ABOUT, scene)
    return card(title, shown, tools=tools, key="models")


def _form(shown: Any, refused: Mapping[str, str]) -> html.Div:
    """The table, why some of its models may not answer, and the fields of all its buttons."""
    by_reason: dict[str, list[str]] = {}
    for model, why in refused.items():
        by_reason.setdefault(why, []).append(model)
    words = [
        html.P(f"{', '.join(models)}: {why}", className="ss-why")
        for why, models in by_reason.items()
    ]
    fields = [
        field("reason", "Why another model shall answer", "promote", "better on the last week"),
        who_field("promote"),
    ]
    return html.Div([shown, *words, html.Div(fields, className="ss-row")], className="ss-act")


def _make_champion(row: Mapping[str, Any], champion: str | None, why_not: str) -> Any:
    """Hold it for a second; nothing for the one that answers already."""
    if row["is_champion"]:
        return ""
    return button(
        "Make champion", {"act": "promote", "model": row["model_id"], "seen": champion},
        label=f"Make {row['model_id']} champion", needs="reason", is_held=True, why_not=why_not,
        look="is-small",
    )  # fmt: skip


def _state(row: Mapping[str, Any]) -> html.Span:
    look, glyph = STATE_LOOKS[row["state"]]
    return html.Span(f"{glyph} {row['state']}", className=f"ss-status is-{look}")


def _losses(row: Mapping[str, Any]) -> str:
    """The model's, and in brackets its rival's on the same rows."""
    ours, rival = (
        "\N{EN DASH}" if row[name] is None else number_text(row[name])
        for name in ("pinball", "baseline_pinball")
    )
    return f"{ours} ({rival})"


def _skill(row: Mapping[str, Any]) -> str:
    ratio = row["skill_ratio"]
    return "\N{EN DASH}" if ratio is None else signed_percent_text(ratio)


def _scores(view: View, scene: Scene) -> Slot | Unshown:
    title = "How good were they on rows they never saw?"
    frame = view.frames["scores"]
    if frame.is_empty():
        return Unshown(title, "No model was judged yet.")
    heads = {
        "model_id": "Model",
        "evaluated_at": "Judged",
        "baseline_value": "Naive rival",
        "n": "Rows",
    }
    cells = {"model_id": lambda row: html.Span(row["model_id"], className="ss-nowrap")}
    shown = table(frame, scene, cells=cells, heads=heads, caption=title, most=MOST_ROWS)
    tools = frame_tools(view, "scores", title, _SCORES_ABOUT, scene)
    words: list[Any] = [
        "One held-out part a model. By horizon and over many windows: the back-tests above; on"
        " public data: ", html.Code("servescope backtest NAME"), ".",
    ]  # fmt: skip
    foot = html.P(words, className="ss-dim ss-foot")
    return card(title, [shown, foot], tools=tools, key="scores")


MODELS = Panel("predictors-models", "predictors_models", body, is_aside=True, is_still=True)
