"""How busy an instance was when each request arrived, counted from the requests themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.base import AT
from predictors.distribution import Floats

ARRIVALS_SECONDS, FIRSTS_SECONDS = 10.0, 5.0
LOAD = (
    "requests_running",
    "requests_waiting",
    "tokens_waiting",
    "context_tokens",
    "arrivals_per_second",
    "first_tokens_per_second",
    "last_ttft_seconds",
)
_PLACE = "place"
Stamps = npt.NDArray[np.int64]


def with_load(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with the columns `LOAD`; unknown where nothing tells when requests end.

    Requests of one instance (where none is named, of one model) count as each other's load: those
    that arrived before and had no first token yet wait, those that had one and had not ended run.

    Args:
        rows: by `at`, with source_id, instance, model, finished_at, ttft_seconds, e2e_seconds,
            input_tokens and output_tokens.
    """
    if rows.is_empty():
        return rows.with_columns(pl.lit(None, pl.Float64).alias(name) for name in LOAD)
    placed = rows.with_columns(pl.coalesce("instance", "model", pl.lit("")).alias(_PLACE))
    parts = [
        part.hstack(pl.DataFrame(_loads(part), schema=dict.fromkeys(LOAD, pl.Float64)))
        for part in placed.partition_by("source_id", _PLACE, maintain_order=True)
    ]
    made = pl.concat(parts).sort(AT, "request_key").drop(_PLACE)
    return made.with_columns(pl.col(LOAD).fill_nan(None))


def _loads(rows: pl.DataFrame) -> Floats:
    if rows["e2e_seconds"].null_count() == rows.height:
        return np.full((rows.height, len(LOAD)), np.nan)
    sent, ended = (rows[name].dt.epoch("us").to_numpy() for name in (AT, "finished_at"))
    ttft = rows["ttft_seconds"].fill_null(0.0).clip(0.0).to_numpy()
    # Where the first token is unknown the request counts as running from its arrival on.
    first = np.minimum(sent + (ttft * 1e6).astype(np.int64), ended)
    tokens = rows["input_tokens"].cast(pl.Float64).fill_null(0.0).to_numpy()
    arrived = _total(sent, tokens, sent, side="left")
    started = _total(first, tokens, sent, side="right")
    gone = _total(ended, tokens, sent, side="right")
    # A request whose first token came with its arrival is in `started` and not in `arrived`.
    waiting, tokens_waiting = (np.maximum(arrived[i] - started[i], 0.0) for i in (0, 1))
    running, context = (
        np.maximum(np.minimum(started[i], arrived[i]) - gone[i], 0.0) for i in (0, 1)
    )
    return np.column_stack([
        running,
        waiting,
        tokens_waiting,
        context,
        _rate(sent, sent, ARRIVALS_SECONDS),
        _rate(first, sent, FIRSTS_SECONDS),
        _last(first, ttft, rows["ttft_seconds"].is_not_null().to_numpy(), sent),
    ])  # fmt: skip


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
