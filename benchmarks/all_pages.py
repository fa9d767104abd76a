"""The addresses of every page there is: those of the navigation, and the tabs and details below."""

from __future__ import annotations

from dashboard.navigation import NAVIGATION
from dashboard.pages.workload import PAGES as WORKLOAD_TABS


def addresses(slo: str = "availability") -> list[str]:
    """Each page once, the navigation first; new pages come in by themselves.

    Args:
        slo: name of the objective whose page is among them.
    """
    items = [item for _, items in NAVIGATION for item in items if item.path is not None]
    pages = [f"/ui/{'/'.join(item.path or ())}" for item in items]
    tabs = [f"/ui/workload/{name}" for name in WORKLOAD_TABS]
    return list(dict.fromkeys([*pages, f"/ui/slo/{slo}", *tabs]))
