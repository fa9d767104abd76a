"""Which page stands at which address."""

from __future__ import annotations

from collections.abc import Mapping

from dashboard.navigation import Page
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
