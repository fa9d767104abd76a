"""Controller: what did it do, why, what would it do, and how do I stop it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Chart, Slot, Unshown, card, chart_card, frame_tools, grid, tabs, verdict
from dashboard.empty_states import jump
from dashboard.figures import control as figures
from dashboard.figures.base import Look, Picture
from dashboard.figures.marks import Marks
from dashboard.navigation import Page, Panel
from dashboard.pages import (
    controller_act,
    controller_after,
    controller_candidates,
    controller_decision,
    controller_score,
)
from dashboard.pages.controller_rows import opener
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import FEW_ROWS, table
from dashboard.theme import attrs
from dashboard.tiles import tile, tiles

CONFIG = """[controller]
ttft_seconds = 2.0
tpot_seconds = 0.1
attainment_ratio = 0.99

[[controller.pool]]
name = "llama-70b"
match = { model = "llama-70b" }
actuator = { kind = "kubernetes", namespace = "llm", name = "llama-70b" }
least = 2
most = 16
"""
TILES = (
    ("Decisions", "decisions"),
    ("Changes", "changes"),
    ("Held by a limit", "blocked"),
    ("Not as asked for", "unsettled"),
    ("Waiting for a yes", "waiting"),
    ("Pools", "pools"),
)
STATE_LOOKS = {
    "applied": ("good", "●"),
    "dry-run": ("none", "○"),
    "waiting": ("watch", "◔"),
    "rejected": ("none", "✕"),
    "expired": ("none", "✕"),
    "replaced": ("none", "✕"),
    "superseded": ("none", "✕"),
    "failed": ("bad", "✕"),
    "blocked": ("watch", "✕"),
    "steady": ("none", "="),
}
_LANES_ABOUT = (
    "Raw desired is what the policy wants; the target is what the guards leave of it; running, "
    "starting and draining are what the platform tells. A target is never drawn as running. Grey: "
    "frozen."
)
_TIMELINE_ABOUT = (
    "One marker a change of decision, at the number of replicas it came to: up and down by shape, "
    "hollow where nothing was done (dry-run), crossed where a limit held it. What was left as it "
    "is, step after step, is folded into the table."
)
_DECISIONS_ABOUT = (
    "Decisions, the newest first; steps that say the same one after the other are one row. The "
    "number leads to what was seen, forecast, limited and done. At most the newest 300 are listed."
)
_UNSETTLED_ABOUT = (
    "Pools that do not have what was asked for, although the platform was told; with its answer."
)


def main_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """What stands out, the counts, and what is not as it should be."""
    if view is None:
        return []
    if view.empty is not None:
        return [_nothing(services, scene)]
    return [
        part
        for part in (
            _of_a_trace(scene),
            verdict(view.sentences, tone=_tone(view)),
            _no_decisions(view, scene),
            tiles(*(tile(label, view.measures.get(key)) for label, key in TILES)),
            _unsettled(view, scene),
        )
        if part is not None
    ]


def _tone(view: View) -> str:
    return "bad" if view.frames["unsettled"].height else "plain"


def _no_decisions(view: View, scene: Scene) -> html.Div | None:
    """Why this range has no decision: there was none yet, or the last one lies elsewhere."""
    if not scene.is_live or view.measures["decisions"].value:
        return None
    last = view.frames["modes"]["decided_at"].max()
    words: list[Any] = [
        "No decision in this range yet. The first comes within a few seconds of the start."
    ]
    if isinstance(last, datetime):
        there = jump(last.replace(tzinfo=UTC), view.scope.seconds, scene)
        words = [f"No decision in this range. The last one was on {scene.when(last)}. ", there]
    return html.Div(html.P(words, className="ss-verdict-first"), className="ss-verdict")


def _of_a_trace(scene: Scene) -> html.Div | None:
    """The controller decides live: the time of a trace has no decisions."""
    if scene.is_live:
        return None
    live = html.A("Show the live fleet", href=scene.here(source="live", from_=None, to=None))
    words = "The controller decides about the live fleet, and this is the time of a trace. "
    return html.Div([words, live], className="ss-note is-stale")


def _nothing(services: Services, scene: Scene) -> html.Div:
    status = services.control.status() if services.control else {}
    if status.get("running"):
        return html.Div(
            [
                html.H2("No decision yet."),
                html.P("Pools are configured; the first decision comes within seconds."),
            ],
            className="ss-empty",
        )
    copy = html.Button(
        "Copy", className="ss-button is-small", type="button",
        **attrs({"data-copy": CONFIG, "aria-label": "Copy the configuration"}),
    )  # fmt: skip
    return html.Div(
        [
            html.H2("No pool is configured."),
            html.P(
                "Add one to servescope.toml and start servescope up again. A pool begins in"
                " dry-run: it is decided upon every few seconds, every decision is kept, and"
                " nothing is done."
            ),
            html.Pre(CONFIG, tabIndex=0, **attrs({"aria-label": "Configuration of a pool"})),
            copy,
            html.P(
                ["What a policy would have given: ", html.A("What-if", href=scene.link("what-if"))]
            ),
        ],
        className="ss-empty",
    )


def _unsettled(view: View, scene: Scene) -> Any:
    frame = view.frames["unsettled"]
    if frame.is_empty():
        return None
    title = "Which pool does not have what was asked for?"
    cells = {
        "pool": lambda row: html.Strong(row["pool"]),
        "reason": lambda row: html.Span(row["reason"], className="ss-why"),
    }
    columns = ("pool", "desired", "actual", "outcome", "reason", "since", "attempts")
    shown = table(frame, scene, columns=columns, cells=cells, caption=title)
    tools = frame_tools(view, "unsettled", title, _UNSETTLED_ABOUT, scene)
    return html.Div(
        grid(card(title, shown, tools=tools, key="unsettled"), key="unsettled"),
        className="ss-alarm",
    )


def lanes_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """One pool's replicas and decisions over time, then the table of decisions."""
    if view is None or view.empty is not None:
        return []
    pools = [str(name) for name in view.frames["modes"]["pool"]]
    pool = chosen_pool(scene, pools)
    parts: list[Any] = []
    if len(pools) > 1:
        names = {name: name for name in pools}
        parts.append(tabs("Pool shown", "pool", pool, names, scene, decision=None))
    part = of_pool(view, pool)
    options = {"pool": pool}
    own = Marks(view.scope.start, view.scope.end, part.frames["freezes"])
    marked = replace(scene, marks=lambda: own)
    cards = [chart_card(part, chart, marked, options) for chart in _charts(part, pool)]
    rehearsed = controller_score.score(part, scene)
    parts.append(grid(*cards, _decisions(part, scene), rehearsed, key="lanes"))
    return parts


def chosen_pool(scene: Scene, pools: Sequence[str]) -> str:
    """The pool of the address, else the first."""
    wanted = scene.address.params.get("pool", "")
    return wanted if wanted in pools else pools[0]


def of_pool(view: View, pool: str) -> View:
    """The view with one pool's rows only."""
    frames = {
        name: frame.filter(pl.col("pool") == pool) if "pool" in frame.columns else frame
        for name, frame in view.frames.items()
    }
    return replace(view, frames=frames)


def _charts(view: View, pool: str) -> Sequence[Chart]:
    def timeline(frame: pl.DataFrame, look: Look) -> Picture | str:
        return figures.timeline(frame, view.frames["lanes"], look)

    return (
        Chart(
            "lanes", f"{pool}: what was wanted, allowed, and there?", "lanes", figures.lanes,
            _LANES_ABOUT, height=300,
        ),
        Chart(
            "timeline", f"{pool}: what was decided, and was it done?", "timeline", timeline,
            _TIMELINE_ABOUT, height=300,
        ),
    )  # fmt: skip


def _decisions(view: View, scene: Scene) -> Slot | Unshown:
    title = "What was decided, and why?"
    frame = view.frames["timeline"]
    if frame.is_empty():
        return Unshown(title, "No decision of this pool in the range shown.")
    cells = {
        "decision_id": lambda row: opener(row, scene),
        "state": state_cell,
        "mode": lambda row: html.Span(str(row["mode"]).upper(), className="ss-nowrap"),
        "until_at": lambda row: "" if row["ticks"] < 2 else scene.when(row["until_at"]),
    }
    columns = ("decision_id", "at", "until_at", "ticks", "mode", "state", "text")
    heads = {
        "decision_id": "Decision", "at": "Decided", "until_at": "Same until", "ticks": "Steps",
        "text": "What, and why [what bound it]", "state": "Became",
    }  # fmt: skip
    shown = table(
        frame, scene, columns=columns, cells=cells, heads=heads, caption=title, most=FEW_ROWS,
        total=view.total("decisions"),
    )  # fmt: skip
    tools = frame_tools(view, "decisions", title, _DECISIONS_ABOUT, scene)
    return card(title, shown, tools=tools, key="decisions")


def state_cell(row: Mapping[str, Any]) -> html.Span:
    """What became of a decision; the word says what the colour says."""
    state = str(row["state"])
    look, glyph = STATE_LOOKS.get(state, ("none", "○"))
    return html.Span(f"{glyph} {state}", className=f"ss-status is-{look}")


PAGE = Page(
    "Controller",
    "What did it do, why, what would it do, and how do I stop it?",
    (
        Panel("controller-main", "controller", main_body),
        Panel(
            "controller-modes", None, controller_act.modes_body, is_aside=True,
        ),
        Panel(
            "controller-act", "controller", controller_act.act_body, is_aside=True, is_still=True,
        ),
        Panel(
            "controller-decision", "controller_decision", controller_decision.body,
            controller_decision.option, is_aside=True, is_still=True,
        ),
        Panel("controller-lanes", "controller", lanes_body, is_aside=True),
        Panel("controller-candidates", None, controller_candidates.body, is_aside=True),
        Panel(
            "controller-after", "controller", controller_after.body, is_aside=True,
            follows_clock=False,
        ),
    ),
)  # fmt: skip
