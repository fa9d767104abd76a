"""Rows to learn from, made of requests that have ended: each as it was asked when it was sent.

Only what had happened before the request was sent enters its row.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

import polars as pl

from predictors.base import AT, CENSORED
from predictors.latency.features import GENERATED, KEYS, LEFT, NUMBERS
from predictors.latency.instance import InstanceState, Scrape
from store.errors import PredictorError

# At one instant: what ended makes room before what comes is asked about.
_SCRAPE, _END, _FIRST, _SENT = range(4)
_TOLD = (*KEYS, "request_id")
_NEEDED = (AT, "input_tokens", "ttft_seconds", "e2e_seconds")
OUTCOMES = ("ttft_seconds", "tpot_seconds", "e2e_seconds", "output_tokens")

SCHEMA: dict[str, Any] = {
    AT: pl.Datetime("us"),
    **dict.fromkeys(_TOLD, pl.String),
    **dict.fromkeys(NUMBERS, pl.Float64),
    GENERATED: pl.List(pl.Float64),
    LEFT: pl.List(pl.Float64),
    **dict.fromkeys(OUTCOMES, pl.Float64),
    "did_fail": pl.Boolean,
}


def rows_of(requests: pl.DataFrame, scrapes: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row a request, oldest first, with the columns of the specs and all outcomes.

    Args:
        requests: `at` (sent), `input_tokens`, `ttft_seconds`, `e2e_seconds` and, as far as known,
            `output_tokens`, `max_tokens`, `cached_tokens`, `did_fail`, `request_id`, `KEYS`.
            A request without `e2e_seconds` is taken to have ended with its first token.
        scrapes: `at`, `instance` and the fields of `Scrape`.

    Raises:
        PredictorError: a column is missing.
    """
    missing = [name for name in _NEEDED if name not in requests.columns]
    if missing:
        raise PredictorError(f"requests lack the columns {', '.join(missing)}")
    if requests.is_empty():
        return pl.DataFrame(schema=SCHEMA)
    asked = _filled(requests)
    parts = [
        pl.DataFrame(list(_of_instance(mine, _scrapes_of(scrapes, instance))), schema=SCHEMA)
        for (instance,), mine in asked.group_by("instance", maintain_order=True)
    ]
    return pl.concat(parts).sort(AT, maintain_order=True)


def with_outcome(rows: pl.DataFrame, quantity: str) -> pl.DataFrame:
    """The rows with `outcome` for one quantity.

    A request that failed before its first token had waited at least that long: it is censored.

    Args:
        rows: as `rows_of` gives them.
        quantity: one of `OUTCOMES`.
    """
    outcome, cut = pl.col(quantity), pl.lit(value=False)
    if quantity in ("ttft_seconds", "e2e_seconds"):
        cut = pl.col("did_fail").fill_null(value=False)
        outcome = pl.coalesce(quantity, pl.when(cut).then("e2e_seconds"))
    return rows.with_columns(outcome.alias("outcome"), cut.alias(CENSORED)).filter(
        pl.col("outcome").is_finite()
    )


def _filled(requests: pl.DataFrame) -> pl.DataFrame:
    told = [name for name in _TOLD if name not in requests.columns]
    numbers = [
        name
        for name in ("output_tokens", "max_tokens", "cached_tokens", "tpot_seconds")
        if name not in requests.columns
    ]
    extra = [pl.lit(None, pl.String).alias(name) for name in told]
    extra += [pl.lit(None, pl.Float64).alias(name) for name in numbers]
    if "did_fail" not in requests.columns:
        extra.append(pl.lit(value=False).alias("did_fail"))
    known = pl.col(AT).is_not_null() & pl.coalesce("ttft_seconds", "e2e_seconds").is_finite()
    paced = (pl.col("e2e_seconds") - pl.col("ttft_seconds")) / (pl.col("output_tokens") - 1)
    # The pace of a single token is no pace.
    paced = pl.when(pl.col("output_tokens") > 1).then(paced)
    return (
        requests.with_columns(extra)
        .filter(known)
        .with_columns(tpot_seconds=pl.coalesce("tpot_seconds", paced))
        .sort(AT, maintain_order=True)
    )


def _scrapes_of(scrapes: pl.DataFrame | None, instance: object) -> pl.DataFrame | None:
    if scrapes is None:
        return None
    return scrapes.filter(pl.col("instance").eq_missing(pl.lit(instance, pl.String)))


def _of_instance(requests: pl.DataFrame, scrapes: pl.DataFrame | None) -> Iterator[dict[str, Any]]:
    rows = requests.to_dicts()
    zero = requests[AT].min()
    state = InstanceState({name: rows[0][name] for name in KEYS})
    events = heapq.merge(_of_requests(rows, zero), _of_scrapes(scrapes, zero))
    for at, kind, number, what in sorted(events, key=lambda event: event[:3]):
        name = str(number)
        if kind == _SCRAPE:
            state.scraped(at, what)
        elif kind == _END:
            state.ended(name, at, rows[number]["output_tokens"])
        elif kind == _FIRST:
            state.first_token(name, at)
        else:
            asked = rows[number]
            sizes = asked["input_tokens"], asked["max_tokens"], asked["cached_tokens"] or 0.0
            yield {**state.row(at, *sizes), **_kept(asked)}
            state.sent(name, at, sizes[0] or 0.0, sizes[1], sizes[2])


def _kept(request: dict[str, Any]) -> dict[str, Any]:
    names = (AT, *_TOLD, *OUTCOMES, "did_fail")
    return {name: request[name] for name in names}


def _of_requests(rows: list[dict[str, Any]], zero: Any) -> Iterator[tuple[float, int, int, Any]]:
    for number, row in enumerate(rows):
        sent = (row[AT] - zero).total_seconds()
        first, whole = row["ttft_seconds"], row["e2e_seconds"]
        yield sent, _SENT, number, None
        if first is not None:
            yield sent + first, _FIRST, number, None
        yield sent + max(first or 0.0, whole or 0.0), _END, number, None


def _of_scrapes(scrapes: pl.DataFrame | None, zero: Any) -> Iterator[tuple[float, int, int, Any]]:
    if scrapes is None:
        return
    names = [name for name in Scrape.__dataclass_fields__ if name in scrapes.columns]
    for number, row in enumerate(scrapes.iter_rows(named=True)):
        at = (row[AT] - zero).total_seconds()
        yield at, _SCRAPE, number, Scrape(**{name: row[name] for name in names})
