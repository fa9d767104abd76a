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


Pool = Annotated[str | None, typer.Option("--pool", help="Only targets with this label `pool`.")]
Instance = Annotated[
    str | None, typer.Option("--instance", help="Only these, HOST:PORT, with commas.")
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Profile to write.", show_default="data folder")
]
FitShare = Annotated[
    float, typer.Option("--fit-share", help="Of the time, 0.1 to 0.9; the rest is judged on.")
]
Replicas = Annotated[
    int | None,
    typer.Option(min=1, help="That shared the work, where rows name no instance; else scraped."),
]
Most = Annotated[float | None, typer.Option(help="Objective, seconds at most.")]
Sequences = Annotated[
    int | None, typer.Option(min=1, help="That a replica decodes at once; else told or shown.")
]
CacheTokens = Annotated[
    int | None, typer.Option("--cache-tokens", min=1, help="That its KV cache holds; else told.")
]
TokenBudget = Annotated[
    int | None, typer.Option("--token-budget", min=1, help="Tokens of a step; else fitted.")
]
Chunked = Annotated[
    bool | None,
    typer.Option("--chunked/--whole", help="Whether prompts share steps; else fitted."),
]
Bound = Annotated[float, typer.Option(help="Median E2E error above which it is not validated.")]
BoundPoints = Annotated[
    float, typer.Option("--bound-points", help="Likewise of the attainment, points.")
]
Gpus = Annotated[int, typer.Option(min=1, help="Cards of a replica.")]
GpuType = Annotated[str, typer.Option("--gpu-type", help="Of the cards.")]
Price = Annotated[float | None, typer.Option(help="Of a replica, an hour.")]


def calibrate(
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="Name of a source; live by default.")
    ] = None,
    *,
    model: Model = None, pool: Pool = None, instance: Instance = None, from_: From = None,
    until: To = None, out: Out = None,
    name: Annotated[str | None, typer.Option(help="Of the profile.")] = None,
    fit_share: FitShare = 0.5, replicas: Replicas = None, ttft: Most = None, tpot: Most = None,
    sequences: Sequences = None, cache_tokens: CacheTokens = None,
    token_budget: TokenBudget = None, chunked: Chunked = None, bound: Bound = 0.1,
    bound_points: BoundPoints = 5.0, gpus: Gpus = 1, gpu_type: GpuType = "", price: Price = None,
    store: Store = None, config: ConfigFile = None, plain: Plain = False, as_json: Json = False,
) -> None:  # fmt: skip
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
