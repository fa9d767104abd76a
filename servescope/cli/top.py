"""`servescope top`: the fleet live in a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from servescope.cli.options import ConfigFile, Json, Model, Source, Store, Tenant, scope_of

REFRESHES = (1, 2, 5, 10)
PLAIN_COLUMNS = 120


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("top")(top)


def top(
    *,
    once: Annotated[bool, typer.Option("--once", help="Print one picture and end.")] = False,
    refresh: Annotated[int, typer.Option(help="Seconds between questions: 1, 2, 5 or 10.")] = 2,
    source: Source = None,
    model: Model = None,
    tenant: Tenant = None,
    store: Store = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """The fleet live in a terminal, over SSH too: asks the running server, changes nothing."""
    params = scope_of(source, None, None, model=model, tenant=tenant)
    run_top(params, store, config, refresh, once=once, as_json=as_json)


def run_top(
    params: Mapping[str, str], store: Path | None, config_file: Path | None, refresh: int,
    *, once: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show the fleet until the user quits, or once.

    Args:
        params: what is shown of it.
        store: which file's server.
        config_file: settings.
        refresh: seconds between questions.
        once: print one picture and end; also where the output is no terminal.
        as_json: print one document and end.

    Raises:
        InputError: a pace that there is not.
        CommandError: no server runs, or textual is not installed.
    """
    from servescope.cli import access
    from servescope.cli.data import configured
    from servescope.cli.output import CommandError, ExitCode, Output
    from servescope.terminal.asking import Asker
    from store.errors import InputError

    if refresh not in REFRESHES:
        raise InputError(f"refresh is {refresh}", hint="1, 2, 5 or 10 seconds")
    settings = configured(store, config_file)
    with closing(Asker(lambda: access.the_server(settings), params)) as asker:
        if once or as_json or not _is_terminal():
            document = asker.answered()
            Output(as_json=as_json).document("top", document)
            if not as_json:
                _print(document)
            return
        if find_spec("textual") is None:
            raise CommandError(
                "the live view needs textual", ExitCode.USAGE, code="missing",
                hint="pip install 'servescope[tui]', or use servescope top --once",
            )  # fmt: skip
        asker.answered()  # says at once that no server runs
        from servescope.terminal.app import Top
        from store.clock import WallClock

        Top(asker, WallClock(), float(refresh)).run()


def _print(document: Mapping[str, object]) -> None:
    """Through rich: colours and the window's width on a terminal, neither in a pipe."""
    from rich.console import Console

    from servescope.terminal.once import show

    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PLAIN_COLUMNS
    show(document, Console(width=width, highlight=False))


def _is_terminal() -> bool:
    return sys.stdout.isatty()
