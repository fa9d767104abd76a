"""What a person sees before there is any data: three ways to get some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import Dash, Input, Output, html, no_update

from dashboard.rights import DOES
from dashboard.services import Services
from dashboard.theme import attrs
from store.errors import ServescopeError


def panel(services: Services) -> list[Any]:
    """Three ways in, each with the command that does it."""
    example: list[Any] = [
        html.P(
            "Both Azure LLM inference traces of 2023: 28,185 real requests, built in, no download."
        ),
        _command("servescope demo"),
    ]
    if services.load_example is not None:
        example.insert(
            1,
            html.Button(
                "Load the example trace",
                id="first-run-load",
                className="ss-button is-primary",
                type="button",
                **attrs({DOES: "example"}),
            ),
        )
    ways = (
        ("Look at a real trace", example),
        (
            "Import a file of yours",
            [
                html.P(
                    "Azure, BurstGPT, Mooncake, VTC, ServeGen, or any CSV, JSONL, Parquet file."
                ),
                _command("servescope import trace.jsonl"),
            ],
        ),
        (
            "Connect a running engine",
            [
                html.P("vLLM, SGLang, TGI, llama.cpp: on this page within two scrapes."),
                *_look(services),
                _command("servescope up --target http://localhost:8000"),
            ],
        ),
    )
    cards = [
        html.Section([html.H2(title), *body], className="ss-card ss-way ss-span-4")
        for title, body in ways
    ]
    return [
        html.Div(
            [
                html.P(
                    "No source yet. Three ways to the first finding:", className="ss-verdict-first"
                ),
                html.P("No account, nothing leaves this machine.", className="ss-dim"),
            ],
            className="ss-verdict",
        ),
        html.Div(cards, className="ss-grid"),
    ]


def _look(services: Services) -> list[Any]:
    """The button that looks for engines on the server's machine, and where they are listed."""
    if services.look is None:
        return []
    button = html.Button("Look on this machine", id="first-run-look", className="ss-button",
                         type="button", title="Asks eight ports of the loopback, once",
                         **attrs({DOES: "look"}))  # fmt: skip
    return [button, html.Div(id="first-run-found", role="status")]


def found(engines: Sequence[tuple[str, str]]) -> list[Any]:
    """The engines that answered, each with a button that watches it from now on."""
    if not engines:
        return [html.P("No engine answers on the usual ports of this machine.", className="ss-dim")]
    rows = []
    for url, name in engines:
        more = {"data-watch": url, "aria-label": f"Watch {name} at {url}"}
        watch = html.Button("Watch", type="button", className="ss-button is-small", **attrs(more))
        rows.append(html.Li([html.Strong(name), f" at {url} ", watch]))
    return [html.Ul(rows)]


def _command(text: str) -> html.Div:
    return html.Div(
        [
            html.Code(text),
            html.Button(
                "Copy",
                className="ss-button is-small",
                type="button",
                **attrs({"data-copy": text, "aria-label": f"Copy: {text}"}),
            ),
        ],
        className="ss-command",
    )


def _register_look(app: Dash, services: Services) -> None:
    if services.look is None:
        return
    look = services.look

    @app.callback(
        Output("first-run-found", "children"),
        Input("first-run-look", "n_clicks"),
        prevent_initial_call=True,
    )
    def looked(clicks: int | None) -> Any:
        if not clicks:
            return no_update
        try:
            services.rights().check("look")
        except ServescopeError as error:
            return html.P(str(error), className="ss-dim")
        return found(look())


def register(app: Dash, services: Services) -> None:
    """The buttons that load the example and look for engines, where this server can."""
    _register_look(app, services)
    if services.load_example is None:
        return
    load = services.load_example

    @app.callback(
        # Said where the page drawn anew does not wipe it.
        Output("shell-told", "data", allow_duplicate=True),
        Output("shell-sources", "data"),
        Input("first-run-load", "n_clicks"),
        prevent_initial_call=True,
    )
    def load_example(clicks: int | None) -> tuple[Any, Any]:
        if not clicks:  # the button has just appeared: Dash calls for that too
            return no_update, no_update
        try:
            services.rights().check("example")
            return {"text": load(), "ok": True, "at": f"loaded {clicks}"}, clicks
        except ServescopeError as error:
            return {"text": str(error), "ok": False, "at": f"not loaded {clicks}"}, no_update
