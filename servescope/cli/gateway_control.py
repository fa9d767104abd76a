"""`servescope gateway key|status|policy|drain`: how the commands look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servescope.cli.options import ConfigFile, Json, Store


def register(group: typer.Typer) -> None:
    """Add the commands."""
    group.command("key")(key)
    group.command("status")(status)
    group.command("policy")(policy)
    group.command("drain")(drain)


def key(
    tenant: Annotated[str, typer.Argument(help="Whose key it is.")],
    as_json: Json = False,
) -> None:
    """Make an API key: shown once, with the line for the file of tenants that stands for it."""
    from servescope.cli.gateway_talk import run_key

    run_key(tenant, as_json=as_json)


def status(store: Store = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Gateways that report to the server: how old their word is, and what is wrong with them."""
    from servescope.cli.gateway_talk import run_status

    run_status(store, config, as_json=as_json)


def policy(
    file: Annotated[
        Path | None, typer.Argument(help="JSON or TOML to put in force; without it, what is.")
    ] = None,
    comment: Annotated[str, typer.Option("--comment", help="Why; kept in the record.")] = "",
    history: Annotated[bool, typer.Option("--history", help="All versions.")] = False,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """What all gateways decide by; or let them decide by something else from now on."""
    from servescope.cli.gateway_talk import run_policy

    run_policy(file, comment, store, config, history=history, as_json=as_json)


def drain(
    instance: Annotated[str, typer.Argument(help="The replica, as /gateway/status names it.")],
    undo: Annotated[bool, typer.Option("--undo", help="Use it again.")] = False,
    url: Annotated[
        str, typer.Option("--url", help="The gateway on this machine; else as gateway.listen says.")
    ] = "",
    config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Send a replica nothing new until told otherwise; it finishes what it has."""
    from servescope.cli.gateway_drain import run_drain

    run_drain(instance, url, config, is_undone=undo, as_json=as_json)
