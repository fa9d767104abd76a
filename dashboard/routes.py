"""Which page stands at which address."""

from __future__ import annotations

from collections.abc import Mapping

from dashboard.navigation import NAVIGATION, Page
from dashboard.pages import (
    admin,
    alerts,
    cold_starts,
    controller,
    cost,
    degradation,
    fairness,
    fleet,
    latency,
    predictors,
    reports,
    slo,
    whatif,
    workload,
)
from dashboard.url_state import Address


def page_of(address: Address) -> Page | None:
    """The page of an address; None where there is none."""
    path = address.path
    if not path:
        return fleet.PAGE
    if path == ("slo",):
        return slo.LIST_PAGE
    if path[0] == "slo" and len(path) == 2:
        return slo.DETAIL_PAGE
    if path[0] == "workload" and len(path) <= 2:
        return workload.PAGES.get(path[1] if len(path) == 2 else "arrivals")
    if path[0] == "what-if" and len(path) <= 2:
        return whatif.PAGE
    if path[0] == "reports" and len(path) <= 2:
        return reports.PAGE
    return _PLAIN.get(path)


_PLAIN: Mapping[tuple[str, ...], Page] = {
    ("latency",): latency.PAGE,
    ("alerts",): alerts.PAGE,
    ("fairness",): fairness.PAGE,
    ("cold-starts",): cold_starts.PAGE,
    ("degradation",): degradation.PAGE,
    ("predictors",): predictors.PAGE,
    ("controller",): controller.PAGE,
    ("cost",): cost.PAGE,
    ("admin",): admin.PAGE,
}


def views_by_page() -> dict[str, frozenset[str]]:
    """The views of each entry of the navigation, those of its tabs and details included."""
    paths: list[tuple[str, ...]] = [
        (),
        ("slo",),
        ("slo", "any"),
        ("what-if",),
        ("reports",),
        *_PLAIN,
    ]
    paths += [("workload", tab) for tab in workload.PAGES]
    titles = {item.path[:1]: item.title for _, items in NAVIGATION for item in items
              if item.path is not None}  # fmt: skip
    found: dict[str, frozenset[str]] = {}
    for path in paths:
        page = page_of(Address(path))
        views = {panel.view for panel in page.panels if panel.view} if page else set()
        title = titles[path[:1]]
        found[title] = found.get(title, frozenset()) | views
    return found
