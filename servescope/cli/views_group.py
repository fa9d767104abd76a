"""`servescope views …`: saved views, the text files beside the configuration."""

from __future__ import annotations

from typing import Annotated

import typer

from servescope.cli.options import ConfigFile, Json

views_app = typer.Typer(help="Saved views of the dashboard.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(views_app, name="views")


@views_app.command("list")
def views_list(config: ConfigFile = None, as_json: Json = False) -> None:
    """All saved views, with what is wrong with a file that cannot be used."""
    from servescope.cli.saved import run_list

    run_list(config, as_json=as_json)


@views_app.command("show")
def views_show(
    name: Annotated[str, typer.Argument(help="Name of its file, without .toml.")],
    config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """One saved view and its address."""
    from servescope.cli.saved import run_show

    run_show(name, config, as_json=as_json)
