"""`servescope replay`: how the command looks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servescope.cli.options import (
    ConfigFile,
    From,
    Json,
    Model,
    Plain,
    Store,
    Tenant,
    To,
    scope_of,
)

_Policies = Annotated[
    str | None,
    typer.Option(
        "--policies",
        help="Names with commas, or all; NAME(parameter=value) sets something, static(replicas=5)"
        " is a fixed fleet, module:factory is one's own.",
    ),
]
_Startup = Annotated[
    str, typer.Option("--startup", help="Seconds that a replica takes to start, with commas.")
]
_Objective = Annotated[
    str,
    typer.Option("--objective", help="Bounds in seconds, and the share that shall keep them."),
]
_Profile = Annotated[
    str | None,
    typer.Option("--profile", help="Of a replica: a name, or a file of servescope calibrate."),
]
_Tune = Annotated[
    int, typer.Option("--tune", help="Trials of each policy, on the first half of the time.")
]
_Curve = Annotated[
    int, typer.Option("--curve", help="Seeds of the curve of each main knob; 0 draws none.")
]
_Most = Annotated[
    int | None, typer.Option("--most", help="Replicas at most; else four times the peak's.")
]
_History = Annotated[
    float, typer.Option("--history", help="Seconds before what is judged, replayed unjudged.")
]
_Patience = Annotated[
    float | None, typer.Option("--patience", help="Seconds that a client waits; else for ever.")
]
_RunLimit = Annotated[
    float, typer.Option("--run-limit", help="Seconds after which one replay is ended.")
]
_Fleet = Annotated[
    Path | None,
    typer.Option("--fleet", help="TOML file with [[pool]] tables: a fleet of several pools."),
]
_Pools = Annotated[
    str | None,
    typer.Option("--pools", help="Configured pools instead, with commas, or all; with guards."),
]
_PerHour = Annotated[
    float | None, typer.Option("--most-per-hour", help="Cost of all pools at most.")
]
_Guards = Annotated[
    bool | None,
    typer.Option(
        "--guards/--no-guards", help="The live guards behind every policy; usual with --pools."
    ),
]
_Forecasts = Annotated[
    bool,
    typer.Option("--forecasts", help="Hand every policy forecasts of the rate, made as it goes."),
]
_Out = Annotated[Path | None, typer.Option("--out", help="Also write everything here, as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(replay)


def replay(
    trace: Annotated[
        str,
        typer.Argument(
            metavar="TRACE", help="A source of the store, a trace file, or azure-2023-conv."
        ),
    ],
    *,
    policies: _Policies = None,
    startup: _Startup = "60",
    seeds: Annotated[
        int, typer.Option("--seeds", help="How many; medians and ranges are over them.")
    ] = 5,
    scale: Annotated[
        float, typer.Option("--scale", help="Times as many requests in the same time.")
    ] = 1.0,
    profile: _Profile = None,
    objective: _Objective = "ttft=2,tpot=0.1,attainment=0.99",
    tune: _Tune = 0,
    curve: _Curve = 0,
    least: Annotated[int, typer.Option("--least", help="Replicas at least.")] = 1,
    most: _Most = None,
    initial: Annotated[int | None, typer.Option("--initial", help="Replicas at the start.")] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", help="GPUs at most, in all.")] = None,
    fleet: _Fleet = None,
    pools: _Pools = None,
    most_per_hour: _PerHour = None,
    guards: _Guards = None,
    forecasts: _Forecasts = False,
    history: _History = 600.0,
    patience: _Patience = None,
    run_limit: _RunLimit = 300.0,
    workers: Annotated[int, typer.Option("--workers", help="Worker processes.")] = 2,
    to: _Out = None,
    from_: From = None,
    until: To = None,
    model: Model = None,
    tenant: Tenant = None,
    store: Store = None,
    config: ConfigFile = None,
    as_json: Json = False,
    plain: Plain = False,
) -> None:
    """Replay traffic against autoscaling policies: cost, attainment and regret, with ranges."""
    from servescope.cli.replays import run_replay

    told = {
        "policies": policies, "startups": startup, "seeds": seeds, "scale": scale,
        "profile": profile, "objective": objective, "tune": tune, "curve": curve, "least": least,
        "most": most, "initial": initial, "gpus": gpus, "history": history, "patience": patience,
        "run_limit": run_limit, "fleet": None if fleet is None else str(fleet), "pools": pools,
        "most_per_hour": most_per_hour, "guards": guards, "forecasts": forecasts,
    }  # fmt: skip
    params = scope_of(None, from_, until, model=model, tenant=tenant)
    given = {name: value for name, value in told.items() if value is not None}
    run_replay(trace, given, params, workers, to, store, config, as_json=as_json, plain=plain)
