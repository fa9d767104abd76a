"""`servescope slo …`: objectives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servescope.cli.options import ConfigFile, From, Json, SloFile, Source, Store, To, scope_of

slo_app = typer.Typer(help="Service level objectives from slo.toml.", no_args_is_help=True)


@slo_app.command("list")
def slo_list(
    file: SloFile = None, source: Source = None, from_: From = None, to: To = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Every objective with attainment, budget and burn."""
    from servescope.cli.slo import run_list

    run_list(file, scope_of(source, from_, to), store, config, as_json=as_json)


@slo_app.command("check")
def slo_check(
    name: Annotated[str | None, typer.Argument(help="Only this objective.")] = None,
    file: SloFile = None, source: Source = None, from_: From = None, to: To = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Exit 3 unless every objective is met: a gate for CI, where UNKNOWN counts as not met."""
    from servescope.cli.slo import run_check

    run_check(name, file, scope_of(source, from_, to), store, config, as_json=as_json)


@slo_app.command("lint")
def slo_lint(file: SloFile = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Check the file itself: unknown keys, alerts that can never fire."""
    from servescope.cli.slo import run_lint

    run_lint(file, config, as_json=as_json)


@slo_app.command("init")
def slo_init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("slo.toml"),
) -> None:
    """Write an example file with three objectives."""
    from servescope.cli.slo import run_init

    run_init(path)
