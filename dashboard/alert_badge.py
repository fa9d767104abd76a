"""How many alerts fire, in the header of every page; nothing where none does."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, State, html, no_update

from analysis.measure import View
from dashboard.plain import plain
from dashboard.scene import scene_of
from dashboard.services import Services
from dashboard.theme import attrs
from dashboard.url_state import parse
from store.errors import ServescopeError

_NOW = {"source": "live", "from": "now-15m"}


def register(app: Dash, services: Services, prefix: str) -> None:
    """The callback that fills the place in the header."""

    @app.callback(
        Output("shell-alerts", "children"),
        Output("shell-alerts-shown", "data"),
        Input("shell-url", "pathname"),
        Input("shell-url", "search"),
        Input("shell-pulse", "data"),
        Input("shell-control-tick", "n_intervals"),
        State("shell-alerts-shown", "data"),
    )
    def alerts(pathname: str, search: str, pulse: object, tick: object, shown: Any) -> Any:
        scene = scene_of(services, parse(pathname, search, prefix), prefix)
        try:
            words, title = said(services.view("alerts", _NOW))
        except ServescopeError:
            return no_update, no_update
        href = scene.link("alerts")
        mark = [words, title, href]
        if mark == shown:
            return no_update, no_update
        return (plain(badge(words, title, href)) if words else None), mark


def said(view: View) -> tuple[str, str]:
    """What the badge says, and the whole of it; empty where nothing fires."""
    if "firing" not in view.measures:
        return "", ""
    firing, pages = (int(view.measures[name].value or 0) for name in ("firing", "pages"))
    if not firing:
        return "", ""
    kind = ("page" if pages == 1 else "pages") if pages else (
        "alert" if firing == 1 else "alerts"
    )  # fmt: skip
    return f"▲ {pages or firing} {kind}", view.sentences[0] if view.sentences else ""


def badge(words: str, title: str, href: str) -> html.A:
    """A link to the alerts."""
    label = f"Alerts: {words.removeprefix('▲ ')}. {title}"
    number, _, kind = words.rpartition(" ")
    # On a narrow screen the number is enough.
    inside: list[Any] = [number, html.Span(f" {kind}")]
    return html.A(
        inside, href=href, className="ss-alert-badge", title=title, **attrs({"aria-label": label})
    )
