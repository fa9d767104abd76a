"""`servescope load`: a recorded trace sent to a real endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servescope.cli.options import From, Json, Plain, Tenant, To, scope_of

_Targets = Annotated[
    list[str],
    typer.Option("--target", help="URL to send to; may be repeated, the idlest gets the request."),
]
_Keys = Annotated[
    Path | None,
    typer.Option("--keys", help='TOML file of API keys: tenant = "key", "*" is everybody else.'),
]
_Hold = Annotated[
    float, typer.Option("--hold", help="Seconds to wait for a free one; then it is not sent.")
]
_Retries = Annotated[
    int,
    typer.Option("--retries", help="Attempts after a refusal, honouring Retry-After as SDKs do."),
]
_Exact = Annotated[
    bool,
    typer.Option("--exact/--no-exact", help="Ask for the output length of the trace (ignore_eos)."),
]
_Stream = Annotated[
    bool, typer.Option("--stream/--no-stream", help="Streamed answers; others tell no TTFT.")
]
_PerWord = Annotated[
    float | None,
    typer.Option("--tokens-per-word", help="Of the tokeniser; else two short requests measure it."),
]
_Map = Annotated[
    list[str] | None, typer.Option("--map", help="STORED=COLUMN[:UNIT] for unknown formats.")
]
_Skip = Annotated[float, typer.Option("--skip", help="Seconds of the trace to skip.")]
_Seconds = Annotated[float | None, typer.Option("--seconds", help="Seconds of the trace to send.")]
_Model = Annotated[
    str | None, typer.Option("--model", help="Name that the target knows; else it is asked.")
]
_Header = Annotated[
    str, typer.Option("--tenant-header", help="Header that names the tenant; empty is none.")
]
_Connections = Annotated[int, typer.Option("--connections", help="Open at once, at most.")]
_Out = Annotated[Path | None, typer.Option("--out", help="Parquet file for `servescope import`.")]
_Name = Annotated[str | None, typer.Option("--name", help="Source that the rows are imported as.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(load)


def load(
    trace: Annotated[
        str, typer.Argument(metavar="TRACE", help="A trace file, or azure-2023-conv.")
    ],
    *,
    target: _Targets,
    speed: Annotated[float, typer.Option("--speed", help="2 sends in half the time.")] = 1.0,
    skip: _Skip = 0.0,
    seconds: _Seconds = None,
    most: Annotated[int | None, typer.Option("--most", help="Requests to send at most.")] = None,
    model: _Model = None,
    api: Annotated[str, typer.Option("--api", help="chat or completions.")] = "chat",
    stream: _Stream = True,
    exact: _Exact = True,
    keys: _Keys = None,
    tenant_header: _Header = "x-llm-d-inference-fairness-id",
    connections: _Connections = 2000,
    hold: _Hold = 10.0,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds of an attempt.")] = 600.0,
    retries: _Retries = 0,
    tokens_per_word: _PerWord = None,
    out: _Out = None,
    name: _Name = None,
    form: Annotated[str, typer.Option("--format", help="Format of the trace.")] = "auto",
    maps: _Map = None,
    from_: From = None,
    to: To = None,
    tenant: Tenant = None,
    as_json: Json = False,
    plain: Plain = False,
) -> None:
    """Send a recorded trace to a real endpoint in open loop, and measure what clients get."""
    from servescope.cli.loading import Asked, run_load

    asked = Asked(
        tuple(target), speed, skip, seconds, most, model, api, stream, exact, keys, tenant_header,
        connections, hold, timeout, retries, tokens_per_word, out, name, form, tuple(maps or ()),
    )  # fmt: skip
    params = scope_of(None, from_, to, tenant=tenant)
    run_load(trace, asked, params, as_json=as_json, plain=plain)
