"""`servescope lab`: how the commands look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servescope.cli.options import Json, Plain

lab_app = typer.Typer(
    help="Interference laboratory: measure what neighbours on a host cost, to train on.",
    no_args_is_help=True,
)
Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="The laboratory's folder.", show_default="data folder"),
]


@lab_app.command("check")
def lab_check(as_json: Json = False) -> None:
    """Say what this host can measure, what can run here, and whether it is quiet enough now."""
    from servescope.cli.laboratory import run_check

    run_check(as_json=as_json)


@lab_app.command("run")
def lab_run(
    *,
    minutes: Annotated[float, typer.Option("--minutes", help="How long at most.")] = 10.0,
    folder: Folder = None,
    run_seconds: Annotated[
        float, typer.Option("--run-seconds", help="Length of one run, 3 to 600.")
    ] = 20.0,
    victim: Annotated[
        list[str] | None, typer.Option("--victim", help="Only this one; may be repeated.")
    ] = None,
    aggressor: Annotated[
        list[str] | None, typer.Option("--aggressor", help="Only this one; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of what is measured when.")] = 0,
    most_background: Annotated[
        float,
        typer.Option(
            "--most-background", help="Share of the cores others may use; above is noise."
        ),
    ] = 0.03,
    plain: Plain = False,
    as_json: Json = False,
) -> None:
    """Measure programs alone and beside neighbours until the time is up; goes on where it was."""
    from servescope.cli.laboratory import RunWish, run_run

    wish = RunWish(
        minutes, folder, run_seconds, tuple(victim or ()), tuple(aggressor or ()), seed,
        most_background,
    )  # fmt: skip
    run_run(wish, plain=plain, as_json=as_json)


@lab_app.command("report")
def lab_report(folder: Folder = None, as_json: Json = False) -> None:
    """Who loses what beside whom, how far the labels can be trusted, and what was discarded."""
    from servescope.cli.laboratory import run_report

    run_report(folder, as_json=as_json)


@lab_app.command("export")
def lab_export(
    to: Annotated[Path, typer.Argument(help="Parquet file to write; a card is put beside it.")],
    *,
    folder: Folder = None,
    noisy: Annotated[
        bool, typer.Option("--noisy", help="Also rows that cannot be trusted; `noise` says why.")
    ] = False,
    for_training: Annotated[
        bool,
        typer.Option(
            "--for-training", help="Windows as `servescope train degradation` takes them."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the data set: one row a second with metrics and labels, and what is known about it."""
    from servescope.cli.laboratory import run_export

    run_export(to, folder, noisy=noisy, for_training=for_training, as_json=as_json)
