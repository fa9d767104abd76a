"""What-if: what runs, how far it is, and what was replayed before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, card, frame_tools, grid
from dashboard.forms import button
from dashboard.pages.controller_candidates import STATES
from dashboard.row_counts import QUERY
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import FEW_ROWS, table
from dashboard.theme import attrs
from store.units import percent_text, seconds_text

OPEN = ("queued", "running")
LOOKS = {
    "done": ("good", "●"),
    "running": ("watch", "◔"),
    "queued": ("none", "○"),
    "failed": ("bad", "✕"),
    "cancelled": ("none", "✕"),
    "interrupted": ("bad", "✕"),
}
_ABOUT = (
    "Every comparison is kept with what was asked, its seeds and its profile; its link stays. B may"
    " be the best of another one, of another fleet or another traffic."
)


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """Bars of what is under way, then the list."""
    if view is None or view.empty is not None:
        return [_none()] if view is not None else []
    frame = view.frames["replays"]
    still = frame.filter(pl.col("state").is_in(OPEN)).sort("created_at")
    parts: list[Any] = [_running(row, scene, services) for row in still.iter_rows(named=True)]
    parts.append(_list(view, scene))
    return parts


def _none() -> html.Div:
    return html.Div(
        [
            html.H2("Nothing was replayed yet."),
            html.P(
                "Choose a trace in the header and press Replay: recorded requests go through a"
                " model of the fleet, once for each policy and seed."
            ),
        ],
        className="ss-empty",
    )


def _running(row: Mapping[str, Any], scene: Scene, services: Services) -> html.Div:
    number = row["replay_id"]
    at = services.replays.progress(number) if services.replays else None
    share = float(at["share"]) if at else 0.0
    title = f"Replay {number} of {row['trace']}"
    cancel = button("Cancel", {"act": "cancel", "replay": number}, label=f"Cancel {number}")
    words = _progress_words(at, share, row["state"])
    return html.Div(
        [
            html.A(title, href=_link(scene, number)),
            html.Progress(value=str(round(share, 4)), max="1", **attrs({"aria-label": title})),
            html.Span(words, className="ss-dim"),
            cancel if services.replays else None,
        ],
        className="ss-note ss-running",
        **attrs({"data-beat": ""}),
    )


def _progress_words(at: Mapping[str, Any] | None, share: float, state: str) -> str:
    if at is None:
        return f"{state}, in another process"
    if at.get("waiting_before"):
        return f"waits, {at['waiting_before'] - 1} before it"
    left = at.get("left_seconds")
    rest = f", {seconds_text(left)} left" if left is not None else ""
    return f"{percent_text(share)}{rest}: {at.get('text') or ''}"


def _link(scene: Scene, number: str) -> str:
    return (
        scene.address.changed(a=None, b=None, startup=None, against=None)
        .to("what-if", number)
        .href(scene.prefix)
    )


def _list(view: View, scene: Scene) -> html.Div:
    title = "What was replayed?"
    frame = view.frames["replays"]
    shown_id = scene.address.path[1] if len(scene.address.path) > 1 else frame["replay_id"][0]

    def opener(row: Mapping[str, Any]) -> Any:
        current: dict[str, Any] = {"aria-current": "true"} if row["replay_id"] == shown_id else {}
        return html.A(row["replay_id"], href=_link(scene, row["replay_id"]), **current)

    def state(row: Mapping[str, Any]) -> html.Span:
        look, glyph = LOOKS.get(row["state"], ("none", "○"))
        return html.Span(
            f"{glyph} {row['state']}", className=f"ss-status is-{look}", title=row["text"] or ""
        )

    cells = {
        "replay_id": opener,
        "b": lambda row: as_b(row, str(shown_id), scene),
        "state": state,
        "seconds": lambda row: seconds_text(row["seconds"]) if row["seconds"] else "",
        "trace": lambda row: html.Span(row["trace"], className="ss-anywhere"),
        "profile": lambda row: html.Span(row["profile"], className="ss-anywhere"),
    }
    columns = [
        "replay_id", "b", "created_at", "trace", "profile", "state", "is_validated", "seconds",
    ]  # fmt: skip
    if frame.height == 1:  # there is no other to take B from
        columns.remove("b")
    heads = {
        "replay_id": "Replay", "b": "Take B from", "created_at": "Asked",
        "is_validated": "Validated", "seconds": "Took",
    }  # fmt: skip
    listed = frame.with_columns(b=pl.lit(""))
    shown = table(
        listed, scene, columns=columns, cells=cells, heads=heads, caption=title, most=FEW_ROWS,
        total=view.total("replays"), others=QUERY,
    )  # fmt: skip
    tools = frame_tools(view, "replays", title, _ABOUT, scene)
    parts = [card(title, shown, tools=tools, key="replays")]
    came = view.frames["candidates"].drop_nulls("replay_id")
    if came.height:
        parts.append(_candidates(came, view, scene))
    return grid(*parts, key="replays")


def as_b(row: Mapping[str, Any], shown_id: str, scene: Scene) -> Any:
    """The link that lays the best of another replay, of another fleet, beside the one shown."""
    if row["replay_id"] == shown_id or row["state"] != "done":
        return ""
    is_on = scene.address.params.get("against") == row["replay_id"]
    href = scene.here(against=None if is_on else row["replay_id"], b=None)
    current: dict[str, Any] = {"aria-current": "true"} if is_on else {}
    words = f"{'Do not take' if is_on else 'Take'} B from {row['replay_id']}"
    return html.A("B", href=href, className=f"ss-chip{' is-on' if is_on else ''}", title=words,
                  **attrs({"aria-label": words}), **current)  # fmt: skip


def _candidates(came: pl.DataFrame, view: View, scene: Scene) -> Slot:
    """Who of them is watched live, with the way to how it does."""
    name = "Which candidates came of them?"
    words = "Policies that somebody wants watched beside the one that decides."

    def opener(row: Mapping[str, Any]) -> html.A:
        there = scene.address.changed(candidate=str(row["candidate_id"]), source="live")
        href = there.changed(from_=None, to=None).to("controller").href(scene.prefix)
        return html.A(f"#{row['candidate_id']}", href=href)

    def state(row: Mapping[str, Any]) -> html.Span:
        look, glyph, said = STATES.get(row["state"], ("none", "○", str(row["state"])))
        return html.Span(f"{glyph} {said}", className=f"ss-status is-{look}")

    def replay(row: Mapping[str, Any]) -> Any:
        return html.A(row["replay_id"], href=_link(scene, row["replay_id"]))

    cells = {
        "candidate_id": opener,
        "policy": lambda row: said_policy(row["policy"], row["parameters"]),
        "state": state,
        "replay_id": replay,
    }
    kept = ("candidate_id", "policy", "pool", "state", "replay_id", "created_at", "created_by")
    heads = {"candidate_id": "Candidate", "pool": "For", "state": "Stands",
             "replay_id": "From replay", "created_at": "Asked", "created_by": "By"}  # fmt: skip
    shown = table(came, scene, columns=kept, cells=cells, heads=heads, caption=name, most=FEW_ROWS)
    tools = frame_tools(view, "candidates", name, words, scene)
    return card(name, shown, tools=tools, key="candidates")


def said_policy(policy: str, parameters: str) -> str:
    """A policy with its own settings: "keda(target=8)"."""
    own = json.loads(parameters or "{}")
    inside = ", ".join(f"{name}={value}" for name, value in own.items())
    return f"{policy}({inside})" if inside else policy
