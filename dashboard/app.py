"""The dashboard as one Dash application on its own Flask server.

The server mounts `create_dash(...).server` at /ui; callbacks are plain functions that run in the
bridge's threads, so a slow one delays nobody on the event loop.
"""

from __future__ import annotations

import logging
import secrets
from pathlib import Path
from typing import Any

from dash import ALL, Dash, Input, Output, State, html, no_update, set_props

from dashboard import account, acting, alert_badge, panels, saved, trouble
from dashboard.controls import (
    age_words,
    comparison_words,
    filters,
    refresh_seconds,
    share_search,
    time_controls,
)
from dashboard.figures.base import utc_text
from dashboard.pages import first_run, slo_edit
from dashboard.plain import plain
from dashboard.routes import page_of
from dashboard.scene import Scene, scene_of
from dashboard.services import Services
from dashboard.shell import INDEX, navigation, shell
from dashboard.static_files import Compressor
from dashboard.url_state import parse
from store.access import Role
from store.errors import ServescopeError

_log = logging.getLogger(__name__)


def create_dash(services: Services, *, prefix: str = "/ui/") -> Dash:
    """Build the dashboard.

    Args:
        services: what pages are handed.
        prefix: where it is mounted, with both slashes. The mount takes the prefix off the path, so
            the application itself answers at "/".
    """
    app = Dash(
        "servescope",
        requests_pathname_prefix=prefix,
        routes_pathname_prefix="/",
        assets_folder=str(Path(__file__).parent / "assets"),
        serve_locally=True,
        enable_mcp=False,
        title="servescope",
        update_title="",
        index_string=INDEX.replace("__PREFIX__", prefix),
        suppress_callback_exceptions=True,
        add_log_handler=False,
        on_error=_unexpected,
    )
    app.enable_dev_tools(debug=False)
    Compressor().install(app.server)
    app.layout = shell(services.version)
    _register_pages(app, services, prefix)
    _register_chrome(app, services, prefix)
    _register_zoom(app, services, prefix)
    _register_clientside(app)
    acting.register(app, services, prefix)
    alert_badge.register(app, services, prefix)
    trouble.register(app, services, prefix)
    saved.register(app, services, prefix)
    panels.register(app, services, prefix)
    first_run.register(app, services)
    slo_edit.register(app, services, prefix)
    return app


def _register_pages(app: Dash, services: Services, prefix: str) -> None:
    @app.callback(
        Output("shell-page", "children"),
        Input("shell-url", "pathname"),
        State("shell-url", "search"),
    )
    def turn(pathname: str, search: str) -> list[Any]:
        scene = scene_of(services, parse(pathname, search, prefix), prefix)
        page = page_of(scene.address)
        if page is None:
            return [_no_such_page(scene)]
        return panels.skeleton(page)


def _register_chrome(app: Dash, services: Services, prefix: str) -> None:
    @app.callback(
        Output("shell-title", "children"),
        Output("shell-nav", "children"),
        Output("shell-top", "children"),
        Output("shell-brand", "href"),
        Output("shell-role", "children"),
        Output("shell-account", "children"),
        Output("shell-filters", "children"),
        Output("shell-time", "children"),
        Output("shell-share", "data-copy"),
        Output("shell-tick", "interval"),
        Output("shell-tick", "disabled"),
        Output("shell-control-tick", "disabled"),
        Input("shell-url", "pathname"),
        Input("shell-url", "search"),
        Input("shell-sources", "data"),
    )
    def frame(pathname: str, search: str, sources: object) -> tuple[Any, ...]:
        scene = scene_of(services, parse(pathname, search, prefix), prefix)
        seconds = refresh_seconds(scene)
        return (
            plain(_title(scene)),
            plain(navigation(scene)),
            plain(_top(scene)),
            scene.link(),
            _role(services),
            plain(account.menu(services.account(), services.rights(), scene.here())),
            plain(filters(scene, _label_values(services, scene))),
            plain(time_controls(scene)),
            share_search(scene),
            (seconds or 3600) * 1000,
            seconds == 0,
            seconds != 0,
        )

    @app.callback(
        Output("shell-age", "children"),
        Input("shell-url", "search"),
        Input("shell-pulse", "data"),
        State("shell-url", "pathname"),
    )
    def age(search: str, pulse: object, pathname: str) -> Any:
        scene = scene_of(services, parse(pathname, search, prefix), prefix)
        return plain(age_words(scene, services.data_age()))


def _register_zoom(app: Dash, services: Services, prefix: str) -> None:
    @app.callback(
        Output("shell-url", "search"),
        Input("shell-zoom", "data"),
        State("shell-url", "pathname"),
        State("shell-url", "search"),
        prevent_initial_call=True,
    )
    def zoom(dragged: dict[str, str] | None, pathname: str, search: str) -> Any:
        if not dragged:
            return no_update
        address = parse(pathname, search, prefix)
        scene = scene_of(services, address, prefix)
        try:
            start, end = (utc_text(dragged[name], scene.look) for name in ("from", "to"))
        except (KeyError, ValueError):
            return no_update
        return address.changed(from_=start, to=end).search()


def _register_clientside(app: Dash) -> None:
    # A tick becomes a pulse only when somebody looks and nothing is under way.
    app.clientside_callback(  # type: ignore[no-untyped-call]
        "function (n) { return window.servescope.pulse(n); }",
        Output("shell-pulse", "data"),
        Input("shell-tick", "n_intervals"),
        prevent_initial_call=True,
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        "function () { return window.servescope.zoom(); }",
        Output("shell-zoom", "data"),
        Input({"type": "graph", "key": ALL}, "relayoutData"),
        prevent_initial_call=True,
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        "function () { return window.servescope.crosshair(); }",
        Output("shell-crosshair", "data"),
        Input({"type": "graph", "key": ALL}, "hoverData"),
        prevent_initial_call=True,
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        "function () { return window.servescope.bar(); }",
        Output("shell-bar", "data"),
        Input({"type": "graph", "key": ALL}, "clickData"),
        prevent_initial_call=True,
    )


def _label_values(services: Services, scene: Scene) -> Any:
    if scene.trouble is not None:
        return {}
    try:
        return services.label_values(scene.address.params)
    except ServescopeError as error:
        _log.warning("label_values_failed", extra={"error": str(error)})
        return {}


def _top(scene: Scene) -> list[Any]:
    """What stands above the panels; its links carry the scope, so it follows every change."""
    page = page_of(scene.address)
    own = list(page.top(scene)) if page and page.top else []
    said = comparison_words(scene)
    return [*own, said] if said is not None else own


def _role(services: Services) -> str:
    """Said at the foot of the navigation of whoever may not do everything."""
    role = services.rights().role
    return "" if role is max(Role) else f" \N{MIDDLE DOT} {role.word}"


def _title(scene: Scene) -> list[Any]:
    page = page_of(scene.address)
    if page is None:
        return [html.H1("No such page")]
    named = " · ".join((page.title, *scene.address.path[1:])) if page.named_by_path else page.title
    return [html.H1(named), html.P(page.question)]


def _no_such_page(scene: Scene) -> html.Div:
    links = [
        html.A(text, href=scene.link(*path), className="ss-button")
        for text, path in (
            ("Fleet", ()),
            ("SLOs", ("slo",)),
            ("Latency", ("latency",)),
            ("Workload", ("workload",)),
            ("Cold starts", ("cold-starts",)),
            ("Controller", ("controller",)),
            ("What-if", ("what-if",)),
            ("Admin", ("admin",)),
        )
    ]
    shown = "/".join(scene.address.path)
    return html.Div(
        [
            html.H2(f"There is no page “{shown}”."),
            html.P("Perhaps one of these:"),
            html.Div(links, className="ss-row"),
        ],
        className="ss-empty",
    )


def _unexpected(error: Exception) -> Any:
    """A fault of ours: recorded with an id, said at the foot of the page, and the picture stays."""
    query_id = secrets.token_hex(4)
    _log.error("callback_failed", extra={"query_id": query_id}, exc_info=error)
    words = (
        f"This page failed on the server (query {query_id}). "
        "The server's log has the cause; the picture shown is the last good one."
    )
    set_props("shell-said", {"children": words, "className": "ss-toast is-error"})
    return no_update
