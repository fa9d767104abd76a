"""Workload: what is arriving, how bursty, how long, from whom, in which sessions?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dash import html

from analysis.measure import QUOTIENTS, Measure, View
from dashboard.cards import chart_card, grid, verdict
from dashboard.empty_states import empty_state
from dashboard.navigation import Page, Panel
from dashboard.notes import notes
from dashboard.pages import workload_compare, workload_export
from dashboard.pages.workload_charts import TABS, Tab
from dashboard.pages.workload_tables import TABLES
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.theme import attrs
from dashboard.tiles import tile, tiles

QUESTION = "What is arriving, how bursty, how long, from whom, in which sessions?"

TAB_NAMES: Mapping[str, str] = {
    **{name: tab.title for name, tab in TABS.items()},
    "compare": "Compare",
    "export": "Export",
}


def findings_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """What is worth knowing first, on every tab; silent when there is nothing to say."""
    if view is None or view.empty is not None:
        return []
    said = verdict(view.sentences, key="findings")
    return [said] if said is not None else []


def tab_body(tab: Tab) -> Callable[[View | None, Scene, Services], Sequence[Any]]:
    """The body of a tab: its tiles, its charts, its tables."""

    def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
        if view is None:
            return []
        if view.empty is not None:
            return [empty_state(view.empty, scene)]
        made = [tile(label, _measure(view, key)) for label, key in tab.tiles]
        cards = [chart_card(view, chart, scene) for chart in tab.charts]
        cards += [TABLES[name](view, scene) for name in tab.tables]
        # What was left out, estimated or refused is part of the answer.
        return [tiles(*made), *notes(view.sentences, tab.view), grid(*cards)]

    return body


def _measure(view: View, key: str) -> Measure | None:
    """A measure of the view; a quotient of means is no share of anything."""
    measure = view.measures.get(key)
    if measure is not None and key in QUOTIENTS:
        return replace(measure, unit="")
    return measure


def tab_links(scene: Scene) -> Sequence[Any]:
    """The tabs as links: each has its own address."""
    here = scene.address.path[1] if len(scene.address.path) > 1 else "arrivals"
    links = []
    for name, title in TAB_NAMES.items():
        current: dict[str, Any] = {"aria-current": "page"} if name == here else {}
        active = " is-active" if name == here else ""
        links.append(
            html.A(title, href=scene.link("workload", name), className=f"ss-tab{active}", **current)
        )
    return [
        html.Nav(
            links, className="ss-tabs", id="workload-tabs", **attrs({"aria-label": "Workload"})
        )
    ]


_FINDINGS = Panel("workload-findings", "workload_findings", findings_body, is_aside=True)


def _page(name: str, *panels: Panel) -> Page:
    return Page(f"Workload · {TAB_NAMES[name]}", QUESTION, panels, tab_links)


PAGES: Mapping[str, Page] = {
    **{
        name: _page(name, _FINDINGS, Panel(f"workload-{name}", tab.view, tab_body(tab)))
        for name, tab in TABS.items()
    },
    "compare": _page("compare", workload_compare.PANEL),
    "export": _page("export", workload_export.PANEL),
}
