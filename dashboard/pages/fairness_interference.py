"""Who suffers from whom: a panel of the page Fairness, with a view of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.measure import View
from dashboard.cards import Chart, Slot, Unshown, chart_card, grid
from dashboard.figures import fairness as figures
from dashboard.navigation import Panel
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.url_state import Address

OPTIONS = ("input_weight", "output_weight", "cached_weight", "window", "shown")
NEVER_QUIET = "Too few requests came while next to nobody was served, to tell how long they take."
CHARTS = (
    Chart(
        "interference",
        "Do others wait longer while one has much?",
        "interference",
        figures.interference,
        "Association, not cause: the median time to first token of all other tenants, by the share "
        "of the service that one tenant had in the same window. Bins of fewer than 30 requests are "
        "left out.",
        height=230,
    ),
    Chart(
        "alone",
        "How much longer than next to nobody?",
        "alone",
        figures.over_alone,
        "Shared over alone: how many times as long the requests of a tenant took as requests of "
        "that length did while each instance had one at most; 1 is as if it had been alone. Told "
        "of tenants of which half the requests can be compared so.",
        height=230,
    ),
)


def options(address: Address) -> Mapping[str, str]:
    """Weights of tokens and the window, as far as the address names them."""
    wanted = {name: address.params.get(name, "") for name in OPTIONS}
    return {name: value for name, value in wanted.items() if value}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """How others fared while one had much, and how long all took beside alone."""
    del services
    if view is None or view.empty is not None:
        return []
    chosen = options(scene.address)
    cards = [chart_card(view, chart, scene, chosen) for chart in CHARTS[:-1]]
    return [grid(*cards, _alone_card(view, scene, chosen), key="suffers")]


def _alone_card(view: View, scene: Scene, chosen: Mapping[str, str]) -> Slot | Unshown:
    chart = CHARTS[-1]
    if view.frames[chart.frame].is_empty():
        return Unshown(chart.title, NEVER_QUIET)
    return chart_card(view, chart, scene, chosen)


PANEL = Panel("fairness-interference", "fairness_interference", body, options, is_aside=True)
