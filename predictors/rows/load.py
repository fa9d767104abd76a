"""How busy an instance was when each request arrived, counted from the requests themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.base import AT
from predictors.distribution import Floats
from predictors.rows.ages import Stamps, generated, oldest_waits

ARRIVALS_SECONDS, FIRSTS_SECONDS = 10.0, 5.0
LOAD = (
    "requests_running",
    "requests_waiting",
    "tokens_waiting",
    "context_tokens",
    "arrivals_per_second",
    "first_tokens_per_second",
    "last_ttft_seconds",
    "oldest_wait_seconds",
)
GENERATED, STEP = "running_generated_tokens", "engine_step_seconds"
_PLACE = "place"
_LIST = pl.List(pl.Float64)
_SCHEMA: dict[str, Any] = {**dict.fromkeys(LOAD, pl.Float64), GENERATED: _LIST}


def with_load(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with `LOAD` and `GENERATED`; unknown where nothing tells when requests end.

    Requests of one instance (where none is named, of one model) count as each other's load: those
    that arrived before and had no first token yet wait, those that had one and had not ended run.
    Limits of running requests are not kept in the store, so what they have left is unknown.

    Args:
        rows: by `at`, with source_id, instance, model, finished_at, ttft_seconds, e2e_seconds,
            input_tokens and output_tokens; `STEP` where engines tell it.
    """
    if rows.is_empty():
        return rows.with_columns(
            *(pl.lit(None, pl.Float64).alias(name) for name in LOAD),
            pl.lit(None, _LIST).alias(GENERATED),
        )
    placed = rows.with_columns(pl.coalesce("instance", "model", pl.lit("")).alias(_PLACE))
    parts = [
        part.hstack(_loads(part))
        for part in placed.partition_by("source_id", _PLACE, maintain_order=True)
    ]
    made = pl.concat(parts).sort(AT, "request_key").drop(_PLACE)
    return made.with_columns(pl.col(LOAD).fill_nan(None))


def _loads(rows: pl.DataFrame) -> pl.DataFrame:
    if rows["e2e_seconds"].null_count() == rows.height:
        return pl.DataFrame(
            {name: [None] * rows.height for name in (*LOAD, GENERATED)}, schema=_SCHEMA
        )
    sent, ended = (rows[name].dt.epoch("us").to_numpy() for name in (AT, "finished_at"))
    ttft = rows["ttft_seconds"].fill_null(0.0).clip(0.0).to_numpy()
    # Where the first token is unknown the request counts as running from its arrival on.
    first = np.minimum(sent + (ttft * 1e6).astype(np.int64), ended)
    tokens = _numbers(rows, "input_tokens", 0.0)
    arrived = _total(sent, tokens, sent, side="left")
    started = _total(first, tokens, sent, side="right")
    gone = _total(ended, tokens, sent, side="right")
    # A request whose first token came with its arrival is in `started` and not in `arrived`.
    waiting, tokens_waiting = (np.maximum(arrived[i] - started[i], 0.0) for i in (0, 1))
    running, context = (
        np.maximum(np.minimum(started[i], arrived[i]) - gone[i], 0.0) for i in (0, 1)
    )
    put_out, step = (_numbers(rows, name, np.nan) for name in ("output_tokens", STEP))
    ages = generated(sent, first, ended, put_out, step)
    known = np.array([sum(some) / len(some) if some else 0.0 for some in ages])
    made = (
        running,
        waiting,
        tokens_waiting,
        # What they have put out lies in the cache beside their prompts.
        context + running * known,
        _rate(sent, sent, ARRIVALS_SECONDS),
        _rate(first, sent, FIRSTS_SECONDS),
        _last(first, ttft, rows["ttft_seconds"].is_not_null().to_numpy(), sent),
        oldest_waits(sent, first),
    )
    return pl.DataFrame({**dict(zip(LOAD, made, strict=True)), GENERATED: ages}, schema=_SCHEMA)


def _numbers(rows: pl.DataFrame, name: str, otherwise: float) -> Floats:
    if name not in rows.columns:
        return np.full(rows.height, otherwise)
    return rows[name].cast(pl.Float64).fill_null(otherwise).to_numpy()


def _total(at: Stamps, weight: Floats, asked: Stamps, *, side: str) -> tuple[Floats, Floats]:
    """(how many, sum of weights) of what had happened by each asked instant."""
    order = np.argsort(at, kind="stable")
    summed = np.concatenate([[0.0], np.cumsum(weight[order])])
    places = np.searchsorted(at[order], asked, side=side)  # type: ignore[call-overload]
    return places.astype(np.float64), summed[places]


def _rate(at: Stamps, asked: Stamps, seconds: float) -> Floats:
    ordered = np.sort(at)
    until = np.searchsorted(ordered, asked, side="left")
    since = np.searchsorted(ordered, asked - int(seconds * 1e6), side="left")
    return np.asarray((until - since) / seconds, dtype=np.float64)


def _last(at: Stamps, value: Floats, known: npt.NDArray[np.bool_], asked: Stamps) -> Floats:
    """The value of what happened last before each asked instant."""
    order = np.argsort(at[known], kind="stable")
    places = np.searchsorted(at[known][order], asked, side="left")
    values = np.concatenate([[np.nan], value[known][order]])
    return np.asarray(values[places], dtype=np.float64)
