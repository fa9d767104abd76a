"""`servescope gateway`: the proxy before the engines."""

from __future__ import annotations

from typing import Annotated

import typer

from servescope.cli import gateway_control
from servescope.cli.options import ConfigFile

_Upstreams = Annotated[
    list[str] | None,
    typer.Option("--upstream", help="URL of an engine, or NAME=URL; may be repeated."),
]
_File = Annotated[
    str | None,
    typer.Option("--upstreams-file", help="JSON that is watched for engines: endpoints.json."),
]
_Listen = Annotated[str | None, typer.Option("--listen", help="HOST:PORT for clients.")]
_Seats = Annotated[
    int | None,
    typer.Option("--seats", help="Requests an engine serves at once, where it does not say."),
]


def register(app: typer.Typer) -> None:
    """Add the command, and those that talk about gateways."""
    group = typer.Typer(invoke_without_command=True)
    group.callback()(gateway)
    gateway_control.register(group)
    app.add_typer(group, name="gateway")


def gateway(
    context: typer.Context,
    *,
    upstream: _Upstreams = None,
    upstreams_file: _File = None,
    listen: _Listen = None,
    seats: _Seats = None,
    config: ConfigFile = None,
) -> None:
    """Answer as OpenAI's API does before engines: admit, queue, route, measure every request."""
    if context.invoked_subcommand is not None:
        return
    import asyncio

    from servescope.cli.output import Output
    from servescope.config import load
    from servescope.gateway import assembly
    from servescope.gateway.listening import bind
    from servescope.logs import configure
    from store.clock import WallClock
    from store.errors import ConfigError

    loaded = load(
        config,
        {
            "gateway.upstreams": list(upstream) if upstream else None,
            "gateway.upstreams_file": upstreams_file,
            "gateway.listen": listen,
            "gateway.seats": seats,
        },
    )
    settings = loaded.gateway
    if not (settings.upstreams or settings.upstreams_file):
        raise ConfigError(
            "no engine is named", where="gateway.upstreams",
            hint="servescope gateway --upstream http://127.0.0.1:8201",
        )  # fmt: skip
    configure(settings.log_level)
    assembly.make_room(settings.connections)
    made = assembly.build(settings, WallClock())
    out = Output()
    with bind(settings.listen, "gateway.listen") as sock:
        host, port = sock.getsockname()[:2]
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        scheme = "https" if settings.tls_certificate else "http"

        def ready() -> None:
            out.line(f"API     {scheme}://{shown}/v1")
            out.line(f"Status  {scheme}://{shown}/gateway/status")
            out.note(f"{len(made.gate.instances)} engines answer · Ctrl-C stops")

        asyncio.run(assembly.serve(made, sock, ready))
