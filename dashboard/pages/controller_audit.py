"""Controller: who told it what, in words; what was written down stays behind a fold."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools
from dashboard.scene import Scene
from dashboard.tables import FEW_ROWS, table
from dashboard.theme import attrs

TITLE = "Who told the controller what?"
_ABOUT = (
    "Everything that people and programs told the controller, the newest first; rows are only ever "
    "added. The CSV has the newest 2,000 as they were written; servescope query 'SELECT * FROM "
    "audit' has all."
)
Told = Mapping[str, Any]
# (asked, what came of it) from the subject, what was before, what is after, and the page.
Words = Callable[[str, Told, Told, Scene], tuple[str, str]]


def audit(view: View, scene: Scene) -> Slot | Unshown:
    """The record as a table of words."""
    frame = view.frames["audit"]
    if frame.is_empty():
        return Unshown(TITLE, "Nobody told it anything yet.")
    became = _became(view.frames["timeline"])
    cells = {
        "actor": _who,
        "action": lambda row: said(row, scene)[0],
        "after": lambda row: _came(row, scene, became),
        "before": _raw,
    }
    columns = ("happened_at", "actor", "action", "after", "comment", "before")
    heads = {
        "happened_at": "When", "actor": "Who", "action": "Asked for", "after": "What came of it",
        "before": "As written",
    }  # fmt: skip
    shown = table(
        frame, scene, columns=columns, cells=cells, heads=heads, caption=TITLE, most=FEW_ROWS,
        total=view.total("audit"), others="the store the others (table audit)",
    )  # fmt: skip
    tools = frame_tools(view, "audit", TITLE, _ABOUT, scene)
    return card(TITLE, shown, tools=tools, key="audit")


def said(row: Mapping[str, Any], scene: Scene) -> tuple[str, str]:
    """What was asked for, and what it led to, in words.

    Args:
        row: action, subject, before and after (JSON texts or null).
        scene: for times.
    """
    name = str(row["action"]).removeprefix("controller.")
    before, after = _json(row["before"]), _json(row["after"])
    try:
        return _ACTS[name](str(row["subject"]), before, after, scene)
    except (KeyError, TypeError, ValueError):
        # A newer or older version may have written it otherwise: it is still shown.
        return f"{name.replace('_', ' ')} {row['subject']}", ""


def _json(text: str | None) -> Told:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _mode(subject: str, before: Told, after: Told, scene: Scene) -> tuple[str, str]:
    mode = str(after["kind"]).removeprefix("mode ").upper()
    modes = {str(one["mode"]).upper() for one in before.values() if isinstance(one, Mapping)}
    was = f"{', '.join(sorted(modes))} before" if modes else ""
    return f"set {subject} to {mode}", was if modes != {mode} else "it was so before"


def _freeze(subject: str, before: Told, after: Told, scene: Scene) -> tuple[str, str]:
    until = after.get("until")
    end = "until resumed" if until is None else f"until {_at(str(until), scene)}"
    return f"freeze {subject}", f"frozen {end}"


def _resume(subject: str, before: Told, after: Told, scene: Scene) -> tuple[str, str]:
    kinds = [one for one in before.values() if isinstance(one, Mapping)]
    foreign = [f"{one['foreign']}" for one in kinds if one.get("foreign") is not None]
    taken = f"; accepted {', '.join(foreign)} replicas that others set" if foreign else ""
    return f"let {subject} go on", f"not frozen{taken}"


def _verdict(word: str) -> Words:
    def words(subject: str, before: Told, after: Told, scene: Scene) -> tuple[str, str]:
        change = f"{before['replicas']} \u2192 {after['replicas']} replicas"
        return f"{word} {subject}: {change}", ""

    return words


def _rejected(subject: str, before: Told, after: Told, scene: Scene) -> tuple[str, str]:
    return f"reject {subject}", f"stayed at {before['replicas']} replicas"


def _adopt(subject: str, before: Told, after: Told, scene: Scene) -> tuple[str, str]:
    return f"adopt {subject}", f"{after['policy']} decides, {before['policy']} no more"


def _withdraw(subject: str, before: Told, after: Told, scene: Scene) -> tuple[str, str]:
    return f"withdraw {subject}", "it is watched no more"


def _restore(subject: str, before: Told, after: Told, scene: Scene) -> tuple[str, str]:
    return f"return {subject} to the configured policy", f"{after['policy']} decides"


_ACTS: Mapping[str, Words] = {
    "mode": _mode,
    "freeze": _freeze,
    "resume": _resume,
    "approved": _verdict("approve"),
    "rejected": _rejected,
    "rollback": _verdict("roll back before"),
    "adopt": _adopt,
    "withdraw": _withdraw,
    "restore": _restore,
}


def _at(text: str, scene: Scene) -> str:
    return scene.when(datetime.fromisoformat(text.replace("Z", "+00:00")))


def _who(row: Mapping[str, Any]) -> str:
    """Who, and by which door where that says more."""
    actor, origin = str(row["actor"]), str(row["origin"] or "")
    return actor if not origin or origin == actor else f"{actor} ({origin})"


def _became(timeline: pl.DataFrame) -> Mapping[str, str]:
    """What became of decisions of the range, by number as text."""
    return {str(row["decision_id"]): str(row["state"]) for row in timeline.iter_rows(named=True)}


def _came(row: Mapping[str, Any], scene: Scene, became: Mapping[str, str]) -> str:
    words = said(row, scene)[1]
    if words or row["action"] != "controller.approved":
        return words
    return became.get(str(row["subject"]).rpartition("#")[2], "")


def _raw(row: Mapping[str, Any]) -> html.Details:
    parts: list[Any] = [
        html.Pre(f"{name}: {json.dumps(_json(row[name]), indent=1)}", tabIndex=0,
                 **attrs({"aria-label": f"{name}, as written"}))
        for name in ("before", "after")
        if row[name]
    ]  # fmt: skip
    summary = html.Summary("JSON", **attrs({"aria-label": f"JSON of {row['action']}"}))
    return html.Details([summary, *(parts or [html.P("nothing")])], className="ss-inner-fold")
