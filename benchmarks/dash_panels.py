"""The real callbacks of the dashboard, as a browser posts them: view, figures and JSON together.

Each panel of a page is one request. `Panels` asks in process and empties the shared cache before
each, so that nothing is answered from an earlier one; `callback` is that request for any client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from all_pages import addresses

from dashboard.navigation import Page
from dashboard.routes import page_of
from dashboard.url_state import Address
from servescope.config import load
from servescope.page_services import dashboard_server
from servescope.runtime import Runtime, SloBook
from store.clock import Clock
from store.database import Database
from store.queries.scope import Scope

_PREFIX = "/ui"


class Panels:
    """A dashboard over an open store, without a browser.

    Args:
        database: the store.
        slo_file: objectives.
        clock: stamps.
        slo: the objective whose page is asked for.
    """

    def __init__(self, database: Database, slo_file: Path, clock: Clock, slo: str) -> None:
        self._slo = slo
        book = SloBook(slo_file, clock)
        book.load()
        self._runtime = Runtime(load(None, {}, {}), database, clock, book)
        self._server: Any = dashboard_server(self._runtime)

    def requests(self, scope: Scope) -> Iterator[tuple[str, Callable[[], None]]]:
        """Name of each panel, and what asks for it afresh."""
        # A comparison needs to be told with what; other pages are not asked about it.
        asked = {"source": "live", "from": scope.start.isoformat(), "to": scope.end.isoformat()}
        search = "?" + urlencode({**asked, "against": "previous"})
        client = self._server.test_client()
        output = panel_output(client.get("/_dash-dependencies").get_json())
        for address in addresses(self._slo):
            path = address.removeprefix(_PREFIX)
            page = page_of(Address(tuple(part for part in path.split("/") if part), {}))
            for spot in _spots(page):
                body = callback(output, spot, address, search)

                def ask(body: dict[str, Any] = body, spot: str = spot) -> None:
                    self._runtime.cache.clear()
                    self._runtime.shared.clear()
                    answer = client.post("/_dash-update-component", json=body)
                    if answer.status_code != 200 or '"Retry"' in answer.text:
                        raise RuntimeError(f"{spot}: {answer.status_code} {answer.text[:300]}")

                yield f"{path} {spot}", ask


def _spots(page: Page | None) -> list[str]:
    return [panel.spot for panel in page.panels] if page else []


def panel_output(known: list[dict[str, Any]]) -> str:
    """The name of the callback that fills panels, out of `_dash-dependencies`."""
    return next(one["output"] for one in known if "panel-body" in one["output"])


def callback(
    output: str, spot: str, path: str, search: str, shown: Any = None, pulse: int | None = None
) -> dict[str, Any]:
    """What the browser posts to fill one panel; with a pulse, to refresh what it shows.

    Args:
        output: as `panel_output` gives.
        spot: which panel.
        path: of the page, with the dashboard's prefix.
        search: the query string, with "?".
        shown: what the panel was told to remember by its last answer.
        pulse: number of the beat; None when the page was opened.
    """

    def own(part: str) -> dict[str, str]:
        return {"spot": spot, "type": f"panel-{part}"}

    parts = (
        ("body", "children"), ("note", "children"), ("shown", "data"), ("frame", "data-range"),
    )  # fmt: skip
    return {
        "output": output,
        "outputs": [{"id": own(part), "property": prop} for part, prop in parts],
        "inputs": [
            {"id": "shell-url", "property": "search", "value": search},
            {"id": "shell-pulse", "property": "data", "value": pulse},
        ],
        "state": [
            {"id": "shell-url", "property": "pathname", "value": path},
            {"id": own("shown"), "property": "id", "value": own("shown")},
            {"id": own("shown"), "property": "data", "value": shown},
        ],
        "changedPropIds": ["shell-url.search" if pulse is None else "shell-pulse.data"],
    }
