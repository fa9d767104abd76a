"""A panel: one view on a page, with its loading, stale and error states.

The browser never loses a picture: while a new one is computed the old one stays (with a thin bar
after 300 ms, see assets/servescope.js), and when that fails it stays greyed, with its age.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache, partial
from typing import Any

import orjson
from dash import MATCH, Dash, Input, Output, State, ctx, dcc, html, no_update, set_props
from dash.development.base_component import Component

from analysis.measure import View
from dashboard.account import known_by
from dashboard.empty_states import empty_state
from dashboard.figures.marks import Marks
from dashboard.happened import happened
from dashboard.navigation import Page, Panel
from dashboard.plain import bare, plain
from dashboard.rights import refusing
from dashboard.routes import page_of
from dashboard.scene import Scene, scene_of
from dashboard.second_look import compared
from dashboard.services import Services
from dashboard.text import ago
from dashboard.theme import attrs
from dashboard.url_state import iso_z, parse
from store.errors import ServescopeError

# What is renewed in place, by the type in an element's id.
RENEWED = {
    "graph": ("figure",),
    "picture": ("aria-label",),
    "part": ("children",),
    "tools": ("children",),
}

_log = logging.getLogger(__name__)


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
                className="ss-panel",
            ),
            dcc.Store(id={"type": "panel-shown", "spot": spot}),
        ],
        id={"type": "panel-frame", "spot": spot},
        className="ss-panel-frame",
        **attrs({"data-spot": spot, "data-range": ""}),
    )


def register(app: Dash, services: Services, prefix: str) -> None:
    """Let every panel fill itself when the address changes and when the pulse beats."""

    @app.callback(
        Output({"type": "panel-body", "spot": MATCH}, "children"),
        Output({"type": "panel-note", "spot": MATCH}, "children"),
        Output({"type": "panel-shown", "spot": MATCH}, "data"),
        Output({"type": "panel-frame", "spot": MATCH}, "data-range"),
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
        # Words instead of a number: somebody did something, all is looked at again.
        beat = ctx.triggered_id == "shell-pulse" and not isinstance(pulse, str)
        if beat and not panel.follows_clock:
            return (no_update,) * 4
        scene = scene_of(services, address, prefix)
        body, note, mark = answer(panel, scene, services, shown, beat=beat)
        shows = no_update if mark is no_update else mark.pop("range", "")
        return bare(renew(plain(body), shown, mark)), bare(plain(note)), mark, shows


def _panel_at(page: Page | None, spot: str) -> Panel | None:
    panels = page.panels if page else ()
    return next((panel for panel in panels if panel.spot == spot), None)


def answer(
    panel: Panel, scene: Scene, services: Services, shown: Any, *, beat: bool
) -> Sequence[Any]:
    """What a panel shows: body, note and what it will remember.

    Args:
        panel: which one.
        scene: its address and scope.
        services: where views come from.
        shown: what it remembered, or None: `at` (ISO time), `search` (the query string) and `parts`
            (ids of what it holds).
        beat: whether only time has passed; then an unchanged view is not sent again.
    """
    if scene.trouble is not None:
        return _failed(panel, scene.trouble, "", shown, scene)
    view: View | None = None
    if panel.view is not None and panel.asks(scene.address):
        try:
            view = services.view(panel.view, scene.address.params, **panel.options(scene.address))
        except ServescopeError as error:
            return _unanswered(panel, error, shown, scene, services)
    scene = replace(scene, marks=cache(partial(_marks, scene, services)))
    mark = _mark(view, scene)
    note = _stale_note(scene, services) if _warns(panel, scene) else None
    # What is said above the picture changes without it: data grows old, an error passes.
    same = (no_update, note, no_update)
    if beat and shown and shown["at"] == mark["at"] and shown["search"] == mark["search"]:
        return same
    view, scene = compared(panel, view, scene, services)
    try:
        parts = known_by(_body(panel, view, scene, services), services.account())
        body = refusing(parts, services.rights(), panel.spot)
    except ServescopeError as error:
        return _failed(panel, error, "", shown, scene)
    if panel.is_still:
        mark["said"] = _fingerprint(bare(body))
        if beat and shown and shown.get("said") == mark["said"]:
            return same
    return body, note, mark


def _marks(scene: Scene, services: Services) -> Marks | None:
    """What happened in the range shown."""
    if scene.scope is None:
        return None
    return happened(services, scene.address.params, scene.scope.start, scene.scope.end)


def _fingerprint(body: Any) -> str:
    text = orjson.dumps(body, default=str, option=orjson.OPT_NON_STR_KEYS)
    return hashlib.sha256(text).hexdigest()[:16]


def renew(body: Any, shown: Any, mark: Any) -> Any:
    """Put new numbers into what the browser already shows, where it holds the same parts.

    New children would build every plot anew: they would blink, and lose zoom and open menus. So
    when the parts are the same as before, figures and inner parts are set one by one and the body
    stays. Links change with the address only, so that a refresh leaves an open definition open.

    Args:
        body: new components, or no_update.
        shown: what the browser remembers, with the ids of its parts.
        mark: what it will remember; gets the ids of the new parts.
    """
    if body is no_update or mark is no_update:  # a failure: nothing new to show
        return body
    updates = dict(_updates(body))
    mark["parts"] = list(updates)
    mark["prints"] = {key: _fingerprint(props) for key, props in updates.items()}
    if not updates or not shown or shown.get("parts") != mark["parts"]:
        return body
    same_address = shown["search"] == mark["search"]
    before = shown.get("prints") or {}
    for key, props in updates.items():
        if before.get(key) == mark["prints"][key]:
            continue  # a browser takes long to make a table anew: what says the same stays
        where = json.loads(key)
        if not (same_address and where["type"] == "tools"):
            set_props(where, props)
    return no_update


def _updates(component: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ids and new properties of the renewable parts in a tree, from top to bottom."""
    if isinstance(component, list | tuple):
        for part in component:
            yield from _updates(part)
        return
    if not isinstance(component, Component):
        return
    own = getattr(component, "id", None)
    names = RENEWED.get(own.get("type", "")) if isinstance(own, dict) else None
    if names:
        props = component.to_plotly_json()["props"]  # type: ignore[no-untyped-call]
        yield json.dumps(own, sort_keys=True), {name: bare(props.get(name)) for name in names}
    if not names or "children" not in names:
        # No `or []` here: a component without children of its own counts as false.
        yield from _updates(getattr(component, "children", None))


def _mark(view: View | None, scene: Scene) -> dict[str, Any]:
    at = view.computed_at if view and view.computed_at else scene.now
    scope = view.scope if view else scene.scope
    shows = f"{iso_z(scope.start)}/{iso_z(scope.end)}" if scope else ""
    return {"at": at.isoformat(), "search": scene.address.search(), "range": shows}


def _body(panel: Panel, view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    if panel.draws_empty:
        return panel.body(view, scene, services)
    if view is not None and view.empty is not None and view.empty.kind != "nothing_connected":
        if panel.is_aside and not panel.says_why_empty:
            return []
        return [empty_state(view.empty, scene)]
    return panel.body(view, scene, services)


def _warns(panel: Panel, scene: Scene) -> bool:
    """One warning a page is enough: that of the first panel the others stand beside."""
    page = page_of(scene.address)
    first = next((one for one in page.panels if not one.is_aside), None) if page else None
    return first is not None and first.spot == panel.spot


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


def _unanswered(
    panel: Panel, error: ServescopeError, shown: Any, scene: Scene, services: Services
) -> Sequence[Any]:
    """A panel whose view failed: as `_failed`, with an identity for the log."""
    query_id = secrets.token_hex(4)
    extra = {"query_id": query_id, "view": panel.view, "error": str(error)}
    _log.warning("view_failed", extra=extra)
    body, *rest = _failed(panel, error, query_id, shown, scene)
    if panel.draws_empty and not shown:  # without its choices nobody gets on
        body = list(panel.body(None, scene, services))
    return body, *rest


def _failed(
    panel: Panel, error: ServescopeError, query_id: str, shown: Any, scene: Scene
) -> Sequence[Any]:
    body: Any = no_update if shown else []
    note = None if panel.is_silent else _what_failed(error, query_id, shown, scene)
    return body, note, no_update


def _what_failed(error: ServescopeError, query_id: str, shown: Any, scene: Scene) -> html.Div:
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
    return html.Div(parts, className="ss-note is-error", role="alert")
