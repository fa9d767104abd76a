"""`servescope train`, `backtest` and `predictors`: how the commands look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servescope.cli.options import (
    ConfigFile,
    From,
    Json,
    Model,
    Source,
    Store,
    Tenant,
    To,
    scope_of,
)

predictors_app = typer.Typer(
    help="Trained models: which there are, how good they are, which one answers.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands that stand beside `predictors`."""
    app.command()(train)
    app.command()(backtest)


def train(
    name: Annotated[str, typer.Argument(help="Predictor; `servescope predictors list` has them.")],
    *,
    rows: Annotated[
        Path | None,
        typer.Option("--rows", help="Parquet file to learn from instead of the store's rows."),
    ] = None,
    source: Source = None,
    from_: From = None,
    until: To = None,
    model: Model = None,
    tenant: Tenant = None,
    store: Store = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Train a predictor on the store's own rows, beside its naive rival, and register it."""
    from servescope.cli.models import run_train

    params = scope_of(source, from_, until, model=model, tenant=tenant)
    run_train(name, rows, params, store, config, as_json=as_json)


def backtest(
    names: Annotated[
        list[str] | None, typer.Argument(help="length, cold_start, degradation, demand, latency.")
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All predictors.")] = False,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder with the public data sets.", envvar="SERVESCOPE_DATA"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="On a part of the rows; for a first look.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of everything random.")] = 0,
    to: Annotated[
        Path | None, typer.Option("--to", help="Also write the table here, as CSV.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge predictors beside their rivals on public data, split by time or by group."""
    from servescope.cli.models import run_backtest

    run_backtest(
        names or [], data, to, everything=everything, quick=quick, seed=seed, as_json=as_json
    )


@predictors_app.command("list")
def predictors_list(store: Store = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Predictors and their models: trained when, on what, how good beside the naive rival."""
    from servescope.cli.models import run_list

    run_list(store, config, as_json=as_json)


@predictors_app.command("show")
def predictors_show(
    source: Source = None, from_: From = None, until: To = None, model: Model = None,
    tenant: Tenant = None, store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Can they be trusted: skill beside the naive rival, calibration, forecasts, instances."""
    from servescope.cli.predictors_shown import run_show

    params = scope_of(source, from_, until, model=model, tenant=tenant)
    run_show(params, store, config, as_json=as_json)


@predictors_app.command("backtest")
def predictors_backtest(
    name: Annotated[str, typer.Argument(help="Predictor; `servescope predictors list` has them.")],
    windows: Annotated[
        int, typer.Option("--windows", help="Judged ones, each by a fit of all before it; 2 to 20.")
    ] = 6,
    source: Source = None, from_: From = None, until: To = None, model: Model = None,
    tenant: Tenant = None, store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Judge a predictor beside its rivals on the store's own rows, on rolling origins; kept."""
    from servescope.cli.backtesting import run_backtest

    params = scope_of(source, from_, until, model=model, tenant=tenant)
    run_backtest(name, windows, params, store, config, as_json=as_json)


@predictors_app.command("promote")
def predictors_promote(
    model_id: Annotated[str, typer.Argument(help="The model that shall answer from now on.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the record.")] = "by hand",
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Let a challenger answer in place of the champion."""
    from servescope.cli.models import run_promote

    run_promote(model_id, reason, store, config, as_json=as_json)
