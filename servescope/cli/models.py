"""What `train`, `backtest` and `predictors` do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from servescope.cli import access
from servescope.cli.data import configured
from servescope.cli.output import CommandError, ExitCode, Output
from servescope.config import Config, store_path
from store.errors import InputError

if TYPE_CHECKING:
    from predictors.backtest import Cell
    from servescope.runtime import Runtime

_MODEL = (
    "predictor", "model_id", "is_champion", "trained_at", "data_until", "rows", "pinball",
    "baseline_pinball", "skill_ratio", "coverage_q90",
)  # fmt: skip
_CELL = ("case", "method", "metric", "value", "target", "met", "n", "CPU s")


def run_train(
    name: str,
    rows_file: Path | None,
    params: Mapping[str, str],
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Train one predictor, here or in the server that holds the store."""
    out = Output(as_json=as_json)
    config = configured(store, config_file)
    url = access.server_of(store_path(config))
    if url is not None:
        told = access.the_server(config).send(
            "POST", f"/predictors/{name}/train",
            json={**params, **({"rows": str(rows_file.resolve())} if rows_file else {})},
            timeout=config.predict.train_limit_seconds + 60,
        )  # fmt: skip
    else:
        told = _train(out, config, name, rows_file, params)
    out.document("train", told)
    out.line(
        f"{told['model_id']}: learnt from {told['rows']:,} rows in {told['seconds']:.1f} CPU s."
    )
    out.line(told["why"])
    for note in told["notes"]:
        out.line(f"note: {note}")


def _train(
    out: Output, config: Config, name: str, rows_file: Path | None, params: Mapping[str, str]
) -> dict[str, Any]:
    from predictors import catalog
    from servescope.training import train, trained_document

    # What can be refused is refused before a store is opened: opening makes one.
    catalog.entry(name)
    rows = None if rows_file is None else _read(rows_file)
    if rows is None:
        must_exist(config)
    out.note(f"training {name}")
    with ExitStack() as stack:
        runtime = _file(config, stack)
        scope = None if rows is not None else runtime.scope(params)
        return trained_document(train(runtime.database, runtime.clock, name, scope, rows=rows))


def must_exist(config: Config) -> None:
    """Refuse to make a store by looking into it.

    Raises:
        InputError: there is none.
    """
    path = store_path(config)
    if not path.exists():
        raise InputError(
            "there is no store yet",
            where=str(path),
            hint="`servescope import FILE` or `servescope up` makes one; --store names another",
        )


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"no Parquet file can be read here: {str(error).splitlines()[0]}",
            where=str(path),
            hint="the columns are in docs/predictors",
        ) from error


def run_list(store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Print the predictors and their models."""
    out = Output(as_json=as_json)
    config = configured(store, config_file)
    if access.server_of(store_path(config)) is not None:
        told = access.the_server(config).get("/predictors", {})
    else:
        from servescope.training import predictors_document

        with ExitStack() as stack:
            path = store_path(config)
            reader = _file(config, stack).database.reader if path.exists() else None
            told = predictors_document(reader)
    out.document("predictors", told)
    out.table(("predictor", "answers"), [[p["name"], p["question"]] for p in told["predictors"]])
    out.line()
    if not told["models"]:
        out.line(
            "No model is trained yet: the naive rivals answer. `servescope train NAME` trains one."
        )
        return
    out.table(_MODEL, [[row[name] for name in _MODEL] for row in told["models"]])


def run_promote(
    model_id: str, reason: str, store: Path | None, config_file: Path | None, *, as_json: bool
) -> None:
    """Let a model answer."""
    out = Output(as_json=as_json)
    config = configured(store, config_file)
    if access.server_of(store_path(config)) is not None:
        told = access.the_server(config).send(
            "POST", "/predictors/promote", json={"model_id": model_id, "reason": reason}
        )
    else:
        from servescope.training import promote

        must_exist(config)
        with ExitStack() as stack:
            runtime = _file(config, stack)
            told = promote(runtime.database, runtime.clock, model_id, "cli", reason, "cli")
    out.document("predictors.promote", told)
    before = told["before"]
    if before == model_id:
        out.line(f"{model_id} is the champion already; nothing changed.")
        return
    out.line(f"{model_id} answers from now on" + (f", {before} before it." if before else "."))


def _file(config: Config, stack: ExitStack) -> Runtime:
    return access.open_file(config, store_path(config), stack)


def run_backtest(
    names: Sequence[str],
    data: Path | None,
    to: Path | None,
    *,
    everything: bool,
    quick: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Judge predictors on public data and print every number beside its target."""
    from predictors import catalog
    from predictors.backtest import table

    out = Output(as_json=as_json)
    chosen = list(catalog.BACKTESTS) if everything else list(names)
    if not chosen:
        raise InputError(
            "nothing to judge", hint=f"name some of {', '.join(catalog.BACKTESTS)}, or --all"
        )
    judges = {name: catalog.backtest(name) for name in chosen}
    if data is None or not data.is_dir():
        raise InputError(
            "no folder with the public data sets" if data is None else "there is no such folder",
            where=str(data or ""),
            hint="name it by --data or SERVESCOPE_DATA; docs/predictors says what lies in it",
        )
    cells: list[Cell] = []
    for name, judge in judges.items():
        out.note(f"{name}: judging")
        with catalog.extra_needed():
            found = list(judge(data, seed, quick, partial(_tell, out, name)))
        cells += found
        _print_cells(out, name, found)
    frame = table(cells)
    if to is not None:
        frame.write_csv(to)
    out.document("backtest", {"seed": seed, "quick": quick, "cells": frame.to_dicts()})
    _conclude(out, cells)


def _tell(out: Output, name: str, text: str) -> None:
    out.note(f"{name}: {text}")


def _print_cells(out: Output, name: str, cells: Sequence[Cell]) -> None:
    out.line(f"\n{name}")
    if not cells:
        out.line("  nothing was judged: the lines above say which data set is missing")
        return
    rows = [
        [
            *(cell.case, cell.method, cell.metric, _known(cell.value), cell.target),
            *({True: "yes", False: "NO", None: ""}[cell.is_met], cell.n, _known(cell.seconds)),
        ]
        for cell in cells
    ]
    out.table(_CELL, rows)


def _conclude(out: Output, cells: Sequence[Cell]) -> None:
    judged = [cell for cell in cells if cell.is_met is not None]
    missed = [cell for cell in judged if not cell.is_met]
    out.line()
    out.line(f"{len(judged) - len(missed)} of {len(judged)} targets reached.")
    for cell in missed:
        out.line(
            f"missed: {cell.predictor}, {cell.case}: {cell.metric} {_known(cell.value)},"
            f" asked for {cell.target}"
        )
    if not cells:
        raise CommandError("nothing could be judged", ExitCode.FAILED, hint="see the lines above")


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.5g}")
