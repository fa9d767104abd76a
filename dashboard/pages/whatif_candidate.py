"""What-if: who of a comparison is watched beside a live pool, and how to have B watched."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card
from dashboard.figures.whatif import ROWS
from dashboard.forms import button
from dashboard.pages.controller_candidates import STATES
from dashboard.pages.whatif_validity import said
from dashboard.scene import Scene
from dashboard.services import Document, Services
from store.errors import ServescopeError


def promoted(view: View, services: Services) -> Sequence[Document]:
    """Candidates that came from this comparison; none where nobody can be asked."""
    if services.control is None:
        return []
    try:
        rows = services.control.candidates.listed()["candidates"]
    except ServescopeError:
        return []
    number = said(view, "replay")
    return [row for row in rows if row["replay_id"] == number]


def standing(row: Mapping[str, Any], candidates: Sequence[Document], scene: Scene) -> list[Any]:
    """How the candidates of one row stand: "in shadow on chat since ..", with the way there."""
    made = []
    for one in candidates:
        if not _is_of(one, row):
            continue
        _, glyph, words = STATES.get(one["state"], ("none", "○", str(one["state"])))
        pools = ", ".join(one["pools"] or [one["pool"]])
        since = str(one.get("watched_since") or one.get("changed_at") or "")[:16].replace("T", " ")
        href = scene.address.changed(candidate=str(one["candidate_id"])).to("controller")
        text = f"{glyph} {words} on {pools}" + (f" since {since}" if since else "")
        made.append(html.Div(html.A(text, href=href.href(scene.prefix)), className="ss-small"))
    return made


def _is_of(candidate: Document, row: Mapping[str, Any]) -> bool:
    """Whether a candidate is this row: its policy with its settings."""
    if str(row["policy"]).partition("(")[0] != candidate["policy"]:
        return False
    own = candidate["parameters"]
    return all(own.get(name) == value for name, value in json.loads(row["parameters"]).items())


def watch(view: View, scene: Scene, services: Services) -> Slot | Unshown:
    """Let B be watched in dry-run."""
    title = "Watch B in dry-run"
    row = next((r for r in view.frames["chosen"].iter_rows(named=True) if r["side"] == "b"), None)
    if row is None or row["row"] not in ("default", "tuned", "hindsight"):
        return Unshown(title, "B is no policy that a controller could run.")
    try:
        pools = services.control.status()["pools"] if services.control else []
    except ServescopeError as error:
        return Unshown(title, error.message)
    if not pools or services.replays is None:
        return Unshown(title, "No pool is configured that could watch it.")
    about = {"policy": row["policy"], "row": row["row"], "startup_seconds": row["startup_seconds"]}
    # B may be of another replay: that one spoke for it.
    number = scene.address.params.get("against") or said(view, "replay")
    buttons = [
        button(
            f"Watch on {pool['pool']}",
            {"act": "propose", "replay": number, "about": {**about, "pool": pool["pool"]}},
            label=f"Record {row['title']} as a candidate for {pool['pool']}",
        )
        for pool in pools
    ]
    inside = [
        html.P(
            f"Records {row['title']} ({ROWS[row['row']][0]}) as a candidate: the"
            " controller writes down what it would have done, and does none of it."
        ),
        html.Div(buttons, className="ss-row"),
    ]
    return card(title, html.Div(inside, className="ss-act"), span=6, key="candidate")
