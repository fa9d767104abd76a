"""A panel: one view on a page, with its loading, stale and error states.

The browser never loses a picture: while a new one is computed the old one stays (with a thin bar
after 300 ms, see assets/servescope.js), and when that fails it stays greyed, with its age.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dash import MATCH, Dash, Input, Output, State, ctx, dcc, html, no_update

from analysis.measure import View
from dashboard.cards import empty_state
from dashboard.navigation import Page, Panel
from dashboard.routes import page_of
from dashboard.scene import Scene, scene_of
from dashboard.services import Services
from dashboard.text import ago
from dashboard.theme import attrs
from dashboard.url_state import parse
from store.errors import ServescopeError

_log = logging.getLogger(__name__)

_FRESH, _OLD = "ss-panel", "ss-panel is-old"


def skeleton(page: Page) -> list[Any]:
    """The empty panels of a page; their callbacks fill them."""
    return [_panel_frame(panel) for panel in page.panels]


def _panel_frame(panel: Panel) -> html.Div:
    spot = panel.spot
    return html.Div(
        [
            html.Div(className="ss-bar", **attrs({"aria-hidden": "true"})),
            html.Div(id={"type": "panel-note", "spot": spot}, className="ss-panel-note"),
            html.Div(
                html.Div(className="ss-waiting"),
                id={"type": "panel-body", "spot": spot},
                className=_FRESH,
            ),
            dcc.Store(id={"type": "panel-shown", "spot": spot}),
        ],
        className="ss-panel-frame",
        **attrs({"data-spot": spot}),
    )


def register(app: Dash, services: Services, prefix: str) -> None:
    """Let every panel fill itself when the address changes and when the pulse beats."""

    @app.callback(
        Output({"type": "panel-body", "spot": MATCH}, "children"),
        Output({"type": "panel-note", "spot": MATCH}, "children"),
        Output({"type": "panel-body", "spot": MATCH}, "className"),
        Output({"type": "panel-shown", "spot": MATCH}, "data"),
        Input("shell-url", "search"),
        Input("shell-pulse", "data"),
        State("shell-url", "pathname"),
        State({"type": "panel-shown", "spot": MATCH}, "id"),
        State({"type": "panel-shown", "spot": MATCH}, "data"),
    )
    def show(search: str, pulse: object, pathname: str, own: dict[str, str], shown: Any) -> Any:
        address = parse(pathname, search, prefix)
        panel = _panel_at(page_of(address), own["spot"])
        if panel is None:  # a page that was just left
            return (no_update,) * 4
        beat = ctx.triggered_id == "shell-pulse"
        if beat and not panel.follows_clock:
            return (no_update,) * 4
        return answer(panel, scene_of(services, address, prefix), services, shown, beat=beat)


def _panel_at(page: Page | None, spot: str) -> Panel | None:
    panels = page.panels if page else ()
    return next((panel for panel in panels if panel.spot == spot), None)


def answer(
    panel: Panel, scene: Scene, services: Services, shown: Any, *, beat: bool
) -> Sequence[Any]:
    """What a panel shows: body, note, look and what it will remember.

    Args:
        panel: which one.
        scene: its address and scope.
        services: where views come from.
        shown: what it remembered: `{"at": ISO time, "search": the query string}`, or None.
        beat: whether only time has passed; then an unchanged view is not sent again.
    """
    if scene.trouble is not None:
        return _failed(scene.trouble, "", shown, scene)
    view: View | None = None
    if panel.view is not None:
        try:
            view = services.view(panel.view, scene.address.params, **panel.options(scene.address))
        except ServescopeError as error:
            query_id = secrets.token_hex(4)
            _log.warning(
                "view_failed",
                extra={"query_id": query_id, "view": panel.view, "error": str(error)},
            )
            return _failed(error, query_id, shown, scene)
    mark = _mark(view, scene)
    if beat and shown == mark:
        return (no_update,) * 4
    return list(_body(panel, view, scene, services)), _stale_note(scene, services), _FRESH, mark


def _mark(view: View | None, scene: Scene) -> dict[str, str]:
    at = view.computed_at if view and view.computed_at else scene.now
    return {"at": at.isoformat(), "search": scene.address.search()}


def _body(panel: Panel, view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    if view is not None and view.empty is not None and view.empty.kind != "nothing_connected":
        return [empty_state(view.empty, scene)]
    return panel.body(view, scene, services)


def _stale_note(scene: Scene, services: Services) -> Any:
    """A line above live pictures when no sample has come for a while."""
    age = services.data_age()
    if not scene.is_live or age.newest_at is None:
        return None
    seconds = (scene.now - age.newest_at).total_seconds()
    if seconds <= age.stale_after_seconds:
        return None
    words = f"The newest sample is from {ago(seconds)}: what you see ends there."
    return html.Div(
        [words, " ", html.A("Which sources?", href=scene.link("admin"))],
        className="ss-note is-stale",
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")


def _failed(error: ServescopeError, query_id: str, shown: Any, scene: Scene) -> Sequence[Any]:
    details = f"{error} · query {query_id}" if query_id else str(error)
    parts: list[Any] = [html.Strong(f"{_sentence(error.message)}.")]
    if error.hint:
        parts.append(html.Span(f" {_sentence(error.hint)}."))
    if query_id:
        parts.append(html.Span(f" Query {query_id}.", className="ss-dim"))
    if shown:
        seconds = (scene.now - datetime.fromisoformat(shown["at"])).total_seconds()
        parts.append(html.Span(f" The picture below is from {ago(seconds)}."))
    parts += [
        html.Button(
            "Retry", className="ss-button is-small", type="button", **attrs({"data-pulse": ""})
        ),
        html.Button(
            "Copy details",
            className="ss-button is-small",
            type="button",
            **attrs({"data-copy": details}),
        ),
    ]
    note = html.Div(parts, className="ss-note is-error", role="alert")
    body: Any = no_update if shown else []
    return body, note, _OLD, no_update
