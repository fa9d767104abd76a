"""`servescope config …`: settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servescope.cli.options import ConfigFile, Json

config_app = typer.Typer(help="Settings: where they come from, and whether they fit.",
                         no_args_is_help=True)  # fmt: skip


@config_app.command("show")
def config_show(
    config: ConfigFile = None,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value is from.")] = False,
    as_json: Json = False,
) -> None:
    """Every setting as it is in force."""
    from servescope.cli.configuration import run_show

    run_show(config, with_origin=origin, as_json=as_json)


@config_app.command("init")
def config_init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("servescope.toml"),
) -> None:
    """Write a commented configuration file with the defaults."""
    from servescope.cli.configuration import run_init

    run_init(path)


@config_app.command("validate")
def config_validate(config: ConfigFile = None, as_json: Json = False) -> None:
    """Check file and environment; all mistakes at once."""
    from servescope.cli.configuration import run_validate

    run_validate(config, as_json=as_json)
