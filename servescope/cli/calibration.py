"""`servescope calibrate` and `profiles`: how the commands look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servescope.cli.options import ConfigFile, From, Json, Model, Plain, Store, To, scope_of

profiles_app = typer.Typer(
    help="Profiles: what a replica can do, how it is known, and how far off that is.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(calibrate)
    app.add_typer(profiles_app, name="profiles")


def calibrate(
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="Name of a source; live by default.")
    ] = None,
    *,
    model: Model = None,
    pool: Annotated[
        str | None, typer.Option("--pool", help="Only targets with this label `pool`.")
    ] = None,
    instance: Annotated[
        str | None, typer.Option("--instance", help="Only these, HOST:PORT, with commas.")
    ] = None,
    from_: From = None,
    until: To = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Profile to write.", show_default="data folder")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the profile.")] = None,
    fit_share: Annotated[
        float, typer.Option("--fit-share", help="Of the time, 0.1 to 0.9; the rest is judged on.")
    ] = 0.5,
    replicas: Annotated[
        int, typer.Option(help="That shared the work, where rows name no instance.")
    ] = 1,
    ttft: Annotated[float | None, typer.Option(help="Objective, seconds at most.")] = None,
    tpot: Annotated[float | None, typer.Option(help="Objective, seconds at most.")] = None,
    sequences: Annotated[int | None, typer.Option(help="That a replica decodes at once.")] = None,
    cache_tokens: Annotated[
        int | None, typer.Option("--cache-tokens", help="That its KV cache holds.")
    ] = None,
    token_budget: Annotated[
        int | None, typer.Option("--token-budget", help="Tokens of a step; else fitted.")
    ] = None,
    chunked: Annotated[
        bool | None,
        typer.Option("--chunked/--whole", help="Whether prompts share steps; else fitted."),
    ] = None,
    bound: Annotated[
        float, typer.Option(help="Median E2E error above which it is not validated.")
    ] = 0.1,
    bound_points: Annotated[
        float, typer.Option("--bound-points", help="Likewise of the attainment, points.")
    ] = 5.0,
    gpus: Annotated[int, typer.Option(help="Cards of a replica.")] = 1,
    gpu_type: Annotated[str, typer.Option("--gpu-type", help="Of the cards.")] = "",
    price: Annotated[float | None, typer.Option(help="Of a replica, an hour.")] = None,
    store: Store = None,
    config: ConfigFile = None,
    plain: Plain = False,
    as_json: Json = False,
) -> None:
    """Fit a replica's profile to recorded requests, and say how far off it is on later ones."""
    from servescope.cli.calibrate import CalibrateWish, run_calibrate

    given = {
        "sequences": sequences, "cache_tokens": cache_tokens, "token_budget": token_budget,
        "is_chunked": chunked,
    }  # fmt: skip
    wish = CalibrateWish(
        scope_of(source, from_, until, model=model, instance=instance), pool, out, name, fit_share,
        replicas, ttft, tpot, given, bound, bound_points, gpus, gpu_type, price,
    )  # fmt: skip
    run_calibrate(wish, store, config, as_json=as_json, plain=plain)


@profiles_app.command("list")
def profiles_list(as_json: Json = False) -> None:
    """Shipped profiles and your own, with the error of each."""
    from servescope.cli.calibrate import run_list

    run_list(as_json=as_json)


@profiles_app.command("show")
def profiles_show(
    name: Annotated[str, typer.Argument(help="Name or file.")], as_json: Json = False
) -> None:
    """All of one profile."""
    from servescope.cli.calibrate import run_show

    run_show(name, as_json=as_json)
