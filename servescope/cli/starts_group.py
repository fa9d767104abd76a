"""`servescope starts …`: how long instances take to be ready."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servescope.cli.options import ConfigFile, From, Json, Model, Store, To, scope_of

starts_app = typer.Typer(help="Starts of instances: how long, and which step is slow.",
                         no_args_is_help=True)  # fmt: skip


@starts_app.command("list")
def starts_list(
    from_: From = None, to: To = None, model: Model = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """How long instances take to be ready, by model, node and cache state."""
    from servescope.cli.latency import run_starts_list

    scope = scope_of("live", from_, to, model=model)
    run_starts_list(scope, store, config, as_json=as_json)


@starts_app.command("read")
def starts_read(
    log: Annotated[Path, typer.Argument(help="Log of an engine, vLLM or llama-server.")],
    instance: Annotated[str, typer.Option(help="Host and port of the engine.")],
    engine: Annotated[str | None, typer.Option(help="vllm or llama.cpp; else recognised.")] = None,
    model: Annotated[str | None, typer.Option(help="What it serves.")] = None,
    node: Annotated[str | None, typer.Option(help="Where it runs.")] = None,
    began: Annotated[
        str | None, typer.Option(help="When the process began, ISO 8601; llama-server needs it.")
    ] = None,
    utc_offset: Annotated[
        str | None, typer.Option("--utc-offset", help="Of the host's clock, such as +02:00.")
    ] = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Add the phases of the first start in a log."""
    from servescope.cli.latency import run_starts_read

    told = {"instance": instance, "engine": engine, "model": model, "node": node,
            "began": began, "utc_offset": utc_offset}  # fmt: skip
    run_starts_read(log, told, store, config, as_json=as_json)
