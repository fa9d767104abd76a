"""One line above every page when the store takes no rows: what, since when, what to do."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, State, html, no_update

from dashboard.plain import plain
from dashboard.scene import Scene, scene_of
from dashboard.services import Services
from dashboard.text import when
from dashboard.theme import attrs
from dashboard.url_state import parse
from store.condition import Condition


def register(app: Dash, services: Services, prefix: str) -> None:
    """The callback that fills the place above the page."""

    @app.callback(
        Output("shell-trouble", "children"),
        Output("shell-trouble-shown", "data"),
        Input("shell-url", "pathname"),
        Input("shell-pulse", "data"),
        Input("shell-control-tick", "n_intervals"),
        State("shell-url", "search"),
        State("shell-trouble-shown", "data"),
    )
    def trouble(pathname: str, pulse: object, tick: object, search: str, shown: Any) -> Any:
        found = services.condition()
        mark = [found.state, found.what]
        if mark == shown:
            return no_update, no_update
        scene = scene_of(services, parse(pathname, search, prefix), prefix)
        return (plain(banner(found, scene)) if found.state != "ok" else None), mark


def banner(found: Condition, scene: Scene) -> html.Div:
    """What is wrong, since when, what is lost meanwhile, what to do."""
    answers = found.state != "stopped"
    lead = "The store takes no new rows" if answers else "The store does not answer"
    since = [" since ", when(found.since, scene.zone)] if found.since is not None else []
    lasts = (
        "What it holds is shown; senders that keep what is refused send it again"
        if answers
        else "What was acknowledged is on disk"
    )
    return html.Div(
        [
            html.Strong([lead, *since]),
            f": {found.what}. {lasts}. ",
            html.Span(f"To do: {found.hint}."),
        ],
        className=f"ss-trouble is-{found.state.replace('_', '-')}",
        role="alert",
        **attrs({"data-state": found.state}),
    )
