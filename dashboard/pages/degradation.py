"""Degradation: which instance is slower than it used to be, since when, and by what?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dash import html

from analysis.measure import View
from dashboard.cards import Chart, Slot, Unshown, card, chart_card, frame_tools, grid, verdict
from dashboard.empty_states import empty_state
from dashboard.figures import degradation as figures
from dashboard.navigation import Page, Panel
from dashboard.pages.degradation_incidents import happened_card, incidents_card, similar_card
from dashboard.pages.degradation_suspects import suspects_card
from dashboard.pages.degradation_words import factor_text, slowed
from dashboard.pages.predictors_states import DEGRADATION
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import cell_text, table
from dashboard.tiles import tile, tiles
from dashboard.url_state import Address

OPTIONS = ("incident",)
TILES = (
    ("Instances", "instances"),
    ("Slowed now", "slowed"),
    ("At their usual pace", "healthy"),
    ("Not known", "unknown"),
    ("Slowest now", "worst_slowdown"),
    ("Incidents", "incidents"),
)
STATE_LOOKS = {
    "slowed": ("bad", "▼"),
    "healthy": ("good", "●"),
    "unknown": ("none", "?"),
}
_COURSE_ABOUT = (
    "Seconds of decoding per token written, over the median of the same instance at about as many "
    "requests at once (an octave), in this range and six hours before it. 1 is as usual; more "
    "load alone does not raise it. The six instances that were slowest. An incident begins where "
    "three of four parts are above 1.2 or above what its own healthy parts hardly ever exceed."
)
_INSTANCES_ABOUT = (
    "Slowed: an incident goes on. At its usual pace: none does, and its newest parts are known. "
    "Beside peers: its time per token over that of instances of the same model with as many "
    "requests at the same time. The interval is 95 %, from blocks of neighbouring parts. All of it "
    "compares; it does not prove a cause."
)


def options(address: Address) -> Mapping[str, str]:
    """Which incident is looked into."""
    wanted = {name: address.params.get(name, "") for name in OPTIONS}
    return {name: value for name, value in wanted.items() if value}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """The verdict, instances, slowdown over time, and one incident in detail."""
    if view is None:
        return []
    if view.empty is not None:
        return [empty_state(view.empty, scene)]
    chosen = options(scene.address)
    bad = view.measures["slowed"].value
    shown = [
        tile(label, view.measures.get(key), tone="bad" if bad and key == "slowed" else "")
        for label, key in TILES
    ]
    parts = [
        verdict(view.sentences, tone=_tone(view), key="slowdown"),
        tiles(*shown),
        grid(
            chart_card(view, COURSE, scene, chosen),
            _instances_card(view, scene, chosen),
            suspects_card(view, scene, chosen),
            happened_card(view, scene, chosen),
            similar_card(view, scene, chosen),
            incidents_card(view, scene, chosen),
        ),
    ]
    return [part for part in parts if part is not None]


COURSE = Chart(
    "slowdown",
    "Who is slower than usual, and since when?",
    "course",
    figures.slowdown,
    _COURSE_ABOUT,
    span=12,
    height=290,
)


def _tone(view: View) -> str:
    if view.measures["slowed"].value:
        return "bad"
    is_known = view.measures["healthy"].value and not view.measures["unknown"].value
    return "good" if is_known else "plain"


def _instances_card(view: View, scene: Scene, chosen: Mapping[str, str]) -> Slot | Unshown:
    title = "Instance by instance"
    cells = {
        "instance": lambda row: html.Strong(row["instance"]),
        "state": _state,
        "slowdown_factor": slowed,
        "to_peers_factor": lambda row: factor_text(row["to_peers_factor"]),
        "since": lambda row: cell_text("since", row["since"], scene),
        "resource": lambda row: _about(row, scene),
    }
    heads = {
        "slowdown_factor": "Time per token (95 %)",
        "to_peers_factor": "Beside peers",
        "resource": "First suspect",
        "windows": "Parts",
    }
    columns = (
        "instance", "model", "state", "slowdown_factor", "to_peers_factor", "since", "windows",
        "resource",
    )  # fmt: skip
    frame = view.frames["instances"]
    shown = table(frame, scene, columns=columns, cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, "instances", title, _INSTANCES_ABOUT, scene, **chosen)
    return card(title, shown, tools=tools, key="instances")


def _state(row: Mapping[str, Any]) -> html.Span:
    look, glyph = STATE_LOOKS[row["state"]]
    words = {"healthy": "usual pace"}.get(row["state"], row["state"])
    return html.Span(f"{glyph} {words}", className=f"ss-status is-{look} ss-nowrap")


def _about(row: Mapping[str, Any], scene: Scene) -> Any:
    """Why nothing is known, or the suspect with a link to the incident."""
    if row["why"]:
        return html.Span(row["why"], className="ss-dim")
    if not row["incident"]:
        return "\N{EN DASH}"
    words = row["resource"] if row["resource"] != "unknown" else "none can be named"
    return html.A(words, href=scene.here(incident=row["incident"]) + "#card-suspects")


PAGE = Page(
    "Degradation",
    "Which instance is slower than usual, and why?",
    (
        Panel("degradation-main", "degradation", body, options),
        # What a trained model says of hosts: where there is none, the panel above has said enough.
        replace(DEGRADATION, says_why_empty=False),
    ),
)
