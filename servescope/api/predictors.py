"""Predictions asked for, and the models behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Body, Depends
from fastapi.responses import Response

from servescope.access.caller import recorded
from servescope.access.scopes import PREDICT
from servescope.api import negotiate
from servescope.api.access import READS, needs, opens
from servescope.api.json_route import JsonRoute
from servescope.api.parameters import RuntimeDep, answers, only_known
from servescope.backtesting import WINDOWS, source_text
from servescope.documents import plain
from servescope.predicting.answers import question_frame
from servescope.training import trained_document
from store.errors import InputError

router = APIRouter(route_class=JsonRoute, tags=["predictors"], dependencies=[Depends(only_known)])

_PREDICTORS = {
    "predictors": [{"name": "latency-ttft", "group": "latency", "question": "time to first token"}],
    "models": [],
    "answering": {"output_tokens": "history-output-tokens"},
    "problems": {},
    "training": None,
}
_TRAINED = {
    "model_id": "latency-ttft-0a1b2c3d4e5f", "predictor": "latency-ttft", "is_new": True,
    "is_champion": True, "why": "It answers from now on: pinball loss 0.021 against 0.034.",
    "rows": 20000, "held_out_rows": 4000, "seconds": 41.2, "notes": [],
    "scores": [{"metric": "pinball", "value": 0.021, "rival": 0.034, "n": 4000}],
}  # fmt: skip
_BACKTESTED = {
    "backtest_id": "20260131-120000-0a1b2c", "predictor": "demand-rate",
    "made_at": "2026-01-31T12:00:00Z", "made_by": "api", "source": "live",
    "data_from": "2026-01-17T12:00:00Z", "data_until": "2026-01-31T11:50:00Z", "rows": 24000,
    "windows": 6, "unit": "requests/s", "rival": "demand-rate-last-value", "seconds": 212.0,
    "cells": 216,
}  # fmt: skip
_ROW = {
    "request_id": "chatcmpl-7", "arrived_at": "2026-01-31T12:00:00.125Z", "model": "llama-3.3-70b",
    "route": "chat", "tenant": "acme", "input_tokens": 512,
}  # fmt: skip
_SAID = {
    "predictor": "output_tokens", "quantity": "output_tokens", "unit": "tokens",
    "horizon_seconds": None, "model_id": "history-output-tokens",
    "rival_id": "history-output-tokens", "levels": [0.1, 0.5, 0.9], "stored": 1,
    "predictions": [
        {"quantiles": [31.0, 180.0, 611.0], "calibration": "calibrated", "was_fallback": True,
         "features_age_seconds": None},
    ],
}  # fmt: skip


@router.get("/predictors", responses=answers(_PREDICTORS), dependencies=[READS])
def get_predictors(runtime: RuntimeDep) -> Response:
    """Predictors, their models and scores, which one answers, and the training that goes on."""
    return negotiate.document(plain(runtime.predicting.document()))


@router.post(
    "/predictors/promote",
    responses=answers({"model_id": "b", "before": "a"}),
    dependencies=[needs("promote")],
)
def post_promote(
    runtime: RuntimeDep,
    model_id: Annotated[str, Body(description="The model that shall answer from now on.")],
    reason: Annotated[str, Body(description="Why; kept in the record.")] = "by hand",
) -> Response:
    """Let a challenger answer in place of the champion; the change is kept in the record."""
    return negotiate.document(runtime.predicting.promote(model_id, recorded("api"), reason, "api"))


@router.post("/predictors/{name}/train", responses=answers(_TRAINED), dependencies=[needs("train")])
def post_train(
    name: str,
    runtime: RuntimeDep,
    about: Annotated[
        dict[str, str] | None,
        Body(
            description="What to learn from: source, from, to, model, tenant, route, instance; or"
            " rows, a Parquet file on the server's disk.",
            examples=[{"from": "now-7d"}],
        ),
    ] = None,
) -> Response:
    """Train a predictor in a process of its own; answers when it is done. One at a time."""
    given = about or {}
    unknown = sorted(set(given) - _ABOUT)
    if unknown:
        raise InputError(
            f"there is no parameter '{unknown[0]}'", hint=f"there are: {', '.join(sorted(_ABOUT))}"
        )
    file = given.get("rows")
    rows = None if file is None else _read(Path(file))
    scope = None if file is not None else runtime.scope(given, shared=False)
    trained = runtime.predicting.train(name, scope, rows=rows, by=recorded("api"))
    told = trained_document(trained)
    return negotiate.document(plain(told))


@router.post(
    "/predictors/{name}/backtest",
    responses=answers(_BACKTESTED),
    dependencies=[needs("train")],
)
def post_backtest(
    name: str,
    runtime: RuntimeDep,
    about: Annotated[
        dict[str, str] | None,
        Body(
            description="What to judge on: source, from, to, model, tenant, route, instance; and"
            " windows, how many (2 to 20).",
            examples=[{"from": "now-14d", "windows": "6"}],
        ),
    ] = None,
) -> Response:
    """Judge a predictor on rolling origins of the store's rows; answers when it is done."""
    given = dict(about or {})
    windows = _whole(given.pop("windows", str(WINDOWS)))
    unknown = sorted(set(given) - (_ABOUT - {"rows"}))
    if unknown:
        raise InputError(f"there is no parameter '{unknown[0]}'")
    scope = runtime.scope(given, shared=False)
    source = source_text(runtime.catalog(), scope)
    told = runtime.predicting.bench.backtest(name, scope, source, windows)
    return negotiate.document(plain(told))


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"'{text}' is no number of windows", hint="2 to 20") from None


@router.post("/predictions/{name}", responses=answers(_SAID), dependencies=[opens(PREDICT)])
def post_predictions(
    name: str,
    runtime: RuntimeDep,
    rows: Annotated[
        list[dict[str, Any]],
        Body(
            embed=True,
            description="1 to 10,000 questions: features and keys of the predictor, unknown ones"
            " left out. One with request_id and arrived_at is kept and judged by its outcome.",
            examples=[[_ROW]],
        ),
    ],
) -> Response:
    """Ask a predictor, or whatever answers for a quantity such as output_tokens."""
    asked = question_frame(rows, runtime.clock.now().replace(tzinfo=None))
    return negotiate.document(runtime.predicting.ask(name, asked))


_ABOUT = {"source", "from", "to", "model", "tenant", "route", "instance", "rows"}


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"no Parquet file can be read here: {str(error).splitlines()[0]}", where=str(path)
        ) from error
