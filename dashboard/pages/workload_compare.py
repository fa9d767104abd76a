"""Workload, Compare: what differs between two bodies of requests?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import (
    Chart,
    Draw,
    Slot,
    Unshown,
    card,
    chart_card,
    frame_tools,
    grid,
    part_id,
    verdict,
)
from dashboard.empty_states import empty_state
from dashboard.figures import distributions as dist
from dashboard.figures.base import Look, Picture
from dashboard.navigation import Panel
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import table
from dashboard.text import heading
from dashboard.theme import attrs
from dashboard.url_state import Address
from store.queries.scope import join_values, split_values

# As the view calls the range before; its module is loaded only when somebody asks for it.
PREVIOUS = "previous"


def _options(address: Address) -> Mapping[str, str]:
    against = address.params.get("against", "")
    return {"against": against} if against else {}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """Choose the other side; then what differs most, and the curves over each other."""
    parts: list[Any] = [_choose(scene)]
    if view is None:
        return parts
    if view.empty is not None:
        return [*parts, empty_state(view.empty, scene)]
    said = verdict(view.sentences)
    if said is not None:
        parts.append(said)
    cards = [_differences(view, scene)] if "differences" in view.frames else []
    overlay = view.frames.get("overlay", pl.DataFrame())
    quantities = (
        overlay.get_column("quantity").unique(maintain_order=True).to_list()
        if overlay.height
        else []
    )
    cards += [chart_card(view, _overlay(q), scene, _options(scene.address)) for q in quantities]
    return [*parts, grid(*cards)]


def _choose(scene: Scene) -> html.Nav:
    chosen = split_values(scene.address.params.get("against", ""))
    names = [s.name for s in scene.catalog if s.request_count or s.kind == "trace"]
    words = {PREVIOUS: "the period before"} | {name: name for name in names}
    links = [
        html.A(
            text,
            href=scene.here(against=join_values([name])),
            className=f"ss-button{' is-primary' if name in chosen else ''}",
            **attrs({"aria-current": "true"} if name in chosen else {}),
        )
        for name, text in words.items()
    ]
    shown = ", ".join(source.name for source in scene.sources) or "nothing"
    return html.Nav(
        [html.Span(f"{shown}, compared with" if chosen else f"Compare {shown} with:"), *links],
        className="ss-row ss-compare",
        id=part_id("compare"),
        **attrs({"aria-label": "Compare with"}),
    )


def _name(quantity: str) -> str:
    words = heading(quantity)
    return words[:1].lower() + words[1:]


def _overlay(quantity: str) -> Chart:
    def draw(frame: pl.DataFrame, look: Look) -> Picture | str:
        return dist.overlay(frame, quantity)

    made: Draw = draw
    words = _name(quantity)
    return Chart(
        f"overlay-{quantity}".replace("_", "-"),
        f"How do they differ in {words}?",
        "overlay",
        made,
        "Cumulative share of both sides on one axis. KS is the largest vertical distance.",
    )


def _differences(view: View, scene: Scene) -> Slot | Unshown:
    title = "What differs most?"
    columns = ("quantity", "a", "b", "ratio", "ks_distance", "sentence")
    heads = {"a": "This", "b": "The other", "ratio": "This ÷ other", "sentence": "In words"}
    cells = {
        "quantity": lambda row: html.Strong(heading(row["quantity"])),
        "ratio": lambda row: (
            "\u2013" if row["ratio"] is None else f"{row['ratio']:.3g}\N{MULTIPLICATION SIGN}"
        ),
    }
    shown = table(
        view.frames["differences"], scene, columns=columns, heads=heads, cells=cells, caption=title
    )
    words = "Each quantity on both sides, the largest difference first."
    tools = frame_tools(view, "differences", title, words, scene, **_options(scene.address))
    return card(title, shown, tools=tools, key="differences")


PANEL = Panel(
    "workload-compare", "workload_compare", body, _options,
    asks=lambda address: bool(_options(address)), draws_empty=True,
)  # fmt: skip
