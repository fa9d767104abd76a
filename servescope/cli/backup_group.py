"""`servescope backup` and `servescope restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servescope.cli.options import ConfigFile, Json, Plain, Store


def register(app: typer.Typer) -> None:
    """Add both commands."""
    app.command()(backup)
    app.command()(restore)


def backup(
    *,
    to: Annotated[
        Path, typer.Argument(help="Folder that gets a new folder; or a file that ends in .tar.")
    ],
    store: Store = None,
    config: ConfigFile = None,
    as_json: Json = False,
    plain: Plain = False,
) -> None:
    """Copy the whole store as it is now, and read the copy back; a server may run meanwhile."""
    from servescope.cli.backing_up import run_backup

    run_backup(to, store, config, as_json=as_json, plain=plain)


def restore(
    *,
    source: Annotated[
        Path, typer.Argument(metavar="BACKUP", help="A folder or file that backup made.")
    ],
    to: Annotated[
        Path | None, typer.Option("--to", help="Store file to make.", show_default="the store")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Move a store that is there into a folder beside it.")
    ] = False,
    config: ConfigFile = None,
    as_json: Json = False,
    plain: Plain = False,
) -> None:
    """Put a backup in the place of the store, after all of it was checked."""
    from servescope.cli.backing_up import run_restore

    run_restore(source, to, config, replace=replace, as_json=as_json, plain=plain)
