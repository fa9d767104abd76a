"""What bounds a batch: told by the engine, shown by its gauges, or assumed and said so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from controller.calibration.recorded import Recorded

Origin = Literal["told", "shown", "given", "assumed", "fitted"]

SEQUENCES, CACHE_TOKENS, TOKEN_BUDGET = 256, 1_000_000, 2048
"""Assumed of an engine of which nothing is known."""
_FEW_WAITING = 0.5
_LEAST_BUSY = 5
_NEAR = 0.98
_OFTEN = 0.3
_LEAST_CROWDED = 5
_SELDOM, _OFTEN_THERE = 0.01, 0.04
# Of the last token of one request and the first of the next, as their client saw them.
_SAME_SECONDS = 2e-3


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one replica.

    Attributes:
        sequences: that decode at once.
        cache_tokens: that the KV cache holds.
        token_budget: tokens a step; None: to be found by fitting.
        is_chunked: None: to be found by fitting.
        origins: field -> where it is from.
    """

    sequences: int = SEQUENCES
    cache_tokens: int = CACHE_TOKENS
    token_budget: int | None = None
    is_chunked: bool | None = None
    origins: Mapping[str, Origin] | None = None


def limits_of(
    gauges: pl.DataFrame | None, recorded: Recorded, given: Mapping[str, int | bool | None]
) -> Limits:
    """The limits of a replica.

    Args:
        gauges: scrapes with url and the columns of `predictor_rows.GAUGES`; None without.
        recorded: requests, for what their overlaps show.
        given: sequences, cache_tokens, token_budget, is_chunked as somebody said; None unknown.
    """
    origins: dict[str, Origin] = {}
    values: dict[str, int] = {}
    for name, signal, assumed in (
        ("sequences", "requests_running_max", SEQUENCES),
        ("cache_tokens", "kv_cache_capacity_tokens", CACHE_TOKENS),
    ):
        told = _median(gauges, signal)
        shown = _shown_sequences(gauges, recorded) if name == "sequences" else None
        if given.get(name) is not None:
            values[name], origins[name] = int(given[name] or 0), "given"
        elif told is not None:
            values[name], origins[name] = max(round(told), 1), "told"
        elif shown is not None:
            values[name], origins[name] = shown, "shown"
        else:
            values[name], origins[name] = assumed, "assumed"
    largest = int((recorded.workload.prompt + recorded.workload.output).max())
    values["cache_tokens"] = max(values["cache_tokens"], largest)
    budget, chunked = given.get("token_budget"), given.get("is_chunked")
    origins["token_budget"] = "fitted" if budget is None else "given"
    origins["is_chunked"] = "fitted" if chunked is None else "given"
    return Limits(
        values["sequences"],
        values["cache_tokens"],
        None if budget is None else int(budget),
        None if chunked is None else bool(chunked),
        origins,
    )


def _median(gauges: pl.DataFrame | None, signal: str) -> float | None:
    if gauges is None or signal not in gauges.columns:
        return None
    told = gauges[signal].drop_nulls()
    return float(told.median()) if len(told) else None  # type: ignore[arg-type]


def _shown_sequences(gauges: pl.DataFrame | None, recorded: Recorded) -> int | None:
    """Where the batch stops growing while requests wait."""
    if gauges is not None and {"requests_running", "requests_waiting"} <= set(gauges.columns):
        busy = gauges.filter(
            (pl.col("requests_waiting") > _FEW_WAITING) & (pl.col("requests_running") > 0)
        )["requests_running"].drop_nulls()
        if len(busy) >= _LEAST_BUSY:
            values = busy.to_numpy()
            most = float(values.max())
            if (values >= _NEAR * most).mean() >= _OFTEN:
                return max(round(most), 1)
    return _shown_by_overlaps(recorded)


def _shown_by_overlaps(recorded: Recorded) -> int | None:
    """The most that decoded together, if it was often so and some came when more were there."""
    if not recorded.is_placed:
        return None
    together, there = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number in range(len(recorded.instances)):
        mine = recorded.replica == number
        arrived = recorded.workload.arrived[mine]
        began = np.sort(arrived + recorded.times.ttft[mine])
        ended = np.sort(arrived + recorded.times.e2e[mine])
        # Who ends as another begins did not decode with it.
        ranks = np.arange(1, len(began) + 1)
        together.append(ranks - np.searchsorted(ended, began + _SAME_SECONDS, "right"))
        there.append(np.arange(len(arrived)) - np.searchsorted(ended, arrived, "right"))
    counts = np.bincount(np.concatenate(together).clip(0))
    # A handful beyond the limit are clients' clocks.
    often = np.flatnonzero(counts >= max(2, _SELDOM * len(recorded)))
    most = int(often[-1]) if len(often) else 0
    crowded = int((np.concatenate(there) > most).sum())
    # Before a limit they pile up; without one, more together are rarer.
    piles_up = most > 1 and counts[most] >= max(counts[most - 1], _OFTEN_THERE * len(recorded))
    return most if piles_up and crowded >= _LEAST_CROWDED else None
