"""`servescope --version`: one line, as every program says it; `servescope version` says more."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer


def _say(asked: bool) -> None:
    """Print the version and end, when the option was given.

    Raises:
        Exit: 0, after the line.
    """
    if asked:
        typer.echo(f"servescope {metadata.version('servescope')}")
        raise typer.Exit


def versioned(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say, is_eager=True, help="Print the version and end."),
    ] = False,
) -> None:
    """See, explain and steer a fleet of LLM servers."""
    del version  # its callback has answered
