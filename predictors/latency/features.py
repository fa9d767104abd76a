"""What the latency predictors read, and rows of it as arrays.

Nearly everything may be unknown. Then physics takes the next best: the scraped gauge for the count
of known requests, the cache usage for the tokens in it, the usual ages for unknown ages.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.base import Feature, Spec
from predictors.distribution import Floats

KEYS = ("model", "engine", "gpu_type", "instance")
# Physics is a matter of these three; instances differ only in how they are calibrated.
PHYSICS_KEYS = KEYS[:3]
GENERATED, LEFT, LENGTHS = "running_generated_tokens", "running_left_tokens", "length_quantiles"
OUTPUT_TOKENS, MAX_TOKENS = "output_tokens", "max_tokens"

NUMBERS: tuple[str, ...] = (
    "input_tokens",
    "cached_tokens",
    MAX_TOKENS,
    "requests_running",
    "requests_waiting",
    "tokens_waiting",
    "context_tokens",
    "requests_running_max",
    "kv_cache_usage_ratio",
    "kv_cache_capacity_tokens",
    "scraped_running",
    "scraped_waiting",
    "scraped_age_seconds",
    "engine_step_seconds",
    "prompt_tokens_per_second",
    "oldest_wait_seconds",
    "last_ttft_seconds",
    "arrivals_per_second",
    "first_tokens_per_second",
)

_STATE = tuple(Feature(name, "number", name == "input_tokens") for name in NUMBERS)
_LISTS = (Feature(GENERATED, "list"), Feature(LEFT, "list"))
# Longer than a day nobody waits; it keeps absurd inputs from absurd answers.
MOST_SECONDS = 86_400.0

TTFT = Spec(
    name="latency-ttft",
    quantity="ttft_seconds",
    unit="s",
    features=(*_STATE, *_LISTS),
    keys=KEYS,
    upper=MOST_SECONDS,
    rival="latency-ttft-linear",
)
TPOT = Spec(
    name="latency-tpot",
    quantity="tpot_seconds",
    unit="s",
    features=(*_STATE, *_LISTS, Feature(LENGTHS, "list")),
    keys=KEYS,
    upper=MOST_SECONDS,
    rival="latency-tpot-linear",
)
E2E = Spec(
    name="latency-e2e",
    quantity="e2e_seconds",
    unit="s",
    features=(*_STATE, *_LISTS, Feature(LENGTHS, "list")),
    keys=KEYS,
    upper=MOST_SECONDS,
    rival="latency-e2e-linear",
)

# Running requests stand for each other at these shares of their ages.
REPRESENTATIVES = 11
_SHARES = (np.arange(REPRESENTATIVES) + 0.5) / REPRESENTATIVES
# A lone absurd number must not overflow what is computed from it.
_MOST_REQUESTS, _MOST_TOKENS = 1e5, 1e8


@dataclass(frozen=True, slots=True)
class State:
    """n questions as arrays of (n,), NaN where unknown; `generated` and `left` are (n, 11).

    Attributes:
        own: tokens of the prompt that are in no cache, at least 1.
        running: requests in the batch.
        waiting: requests ahead that have no first token yet.
        ahead: their prompt tokens.
        context: tokens that the running requests hold in the cache.
        slots: requests that can run at once.
        scraped_running: the gauge, as old as `scraped_age`.
        scraped_waiting: the gauge.
        scraped_age: seconds since the scrape.
        step: seconds of an engine step as measured at the scrape.
        prompt_rate: prompt tokens a second at the scrape.
        usage: of the cache, 0 to 1.
        capacity: of the cache, tokens.
        oldest: seconds that the first in line has waited.
        last_ttft: of the request that got its first token last, seconds.
        arrivals: requests a second, lately.
        firsts: first tokens a second, lately.
        most: output limit of the request itself, tokens.
        generated: tokens that running requests have put out, rising; NaN where unknown.
        left: tokens to each one's own limit, in the same order; infinite without a limit.
    """

    own: Floats
    running: Floats
    waiting: Floats
    ahead: Floats
    context: Floats
    slots: Floats
    scraped_running: Floats
    scraped_waiting: Floats
    scraped_age: Floats
    step: Floats
    prompt_rate: Floats
    usage: Floats
    capacity: Floats
    oldest: Floats
    last_ttft: Floats
    arrivals: Floats
    firsts: Floats
    most: Floats
    generated: Floats
    left: Floats

    def __len__(self) -> int:
        return len(self.own)

    def take(self, rows: object) -> State:
        """The rows that an index or a mask names."""
        at = np.asarray(rows)
        return State(**{part.name: getattr(self, part.name)[at] for part in fields(State)})


def state_of(rows: pl.DataFrame) -> State:
    """Rows as `Spec.frame` gives them, as arrays; what no engine can have is unknown."""
    # Columns one by one: a query costs more than a hundred rows are worth.
    column = {name: np.asarray(rows[name].to_numpy(), dtype=np.float64) for name in NUMBERS}
    cached = np.nan_to_num(_within(column["cached_tokens"], _MOST_TOKENS))
    running = _first(column["requests_running"], column["scraped_running"])
    waiting = _first(column["requests_waiting"], column["scraped_waiting"])
    generated, left = _ages(rows)
    return State(
        own=np.maximum(np.nan_to_num(_within(column["input_tokens"], _MOST_TOKENS)) - cached, 1.0),
        running=np.nan_to_num(_within(running, _MOST_REQUESTS)),
        waiting=np.nan_to_num(_within(waiting, _MOST_REQUESTS)),
        ahead=_within(column["tokens_waiting"], _MOST_TOKENS),
        context=_within(column["context_tokens"], _MOST_TOKENS),
        slots=np.maximum(_within(column["requests_running_max"], _MOST_REQUESTS), 1.0),
        scraped_running=_within(column["scraped_running"], _MOST_REQUESTS),
        scraped_waiting=_within(column["scraped_waiting"], _MOST_REQUESTS),
        scraped_age=_within(column["scraped_age_seconds"], MOST_SECONDS),
        step=_within(column["engine_step_seconds"], MOST_SECONDS, 1e-5),
        prompt_rate=_within(column["prompt_tokens_per_second"], _MOST_TOKENS),
        usage=_within(column["kv_cache_usage_ratio"], 1.0),
        capacity=_within(column["kv_cache_capacity_tokens"], _MOST_TOKENS * 10),
        oldest=_within(column["oldest_wait_seconds"], MOST_SECONDS),
        last_ttft=_within(column["last_ttft_seconds"], MOST_SECONDS, 1e-5),
        arrivals=_within(column["arrivals_per_second"], _MOST_REQUESTS),
        firsts=_within(column["first_tokens_per_second"], _MOST_REQUESTS),
        most=_within(column[MAX_TOKENS], _MOST_TOKENS, 1.0),
        generated=generated,
        left=left,
    )


def lists_of(rows: pl.DataFrame, name: str, width: int) -> Floats:
    """A list column as (n, width); rows with another length or unknown parts are NaN."""
    column = rows[name].cast(pl.List(pl.Float64))
    made = np.full((rows.height, width), np.nan)
    fits = (column.list.len() == width).fill_null(value=False).to_numpy()
    if fits.any():
        flat = column.filter(pl.Series(fits)).explode().cast(pl.Float64).fill_null(float("nan"))
        made[fits] = flat.to_numpy().reshape(-1, width)
    return made


def _ages(rows: pl.DataFrame) -> tuple[Floats, Floats]:
    """(generated, left) of `REPRESENTATIVES` of the running requests of each row."""
    generated = np.full((rows.height, REPRESENTATIVES), np.nan)
    left = np.full((rows.height, REPRESENTATIVES), np.inf)
    ends, ages = _flat(rows[GENERATED])
    sizes = np.diff(ends)
    some = sizes > 0
    if some.any():
        place = ends[:-1][some, None] + (_SHARES * sizes[some, None]).astype(np.int64)
        generated[some] = np.clip(np.nan_to_num(ages), 0.0, _MOST_TOKENS)[place]
    other_ends, limits = _flat(rows[LEFT])
    paired = some & (np.diff(other_ends) == sizes)
    if paired.any():
        place = other_ends[:-1][paired, None] + (_SHARES * sizes[paired, None]).astype(np.int64)
        left[paired] = np.where(np.isnan(limits), np.inf, np.maximum(limits, 0.0))[place]
    return generated, left


def _flat(column: pl.Series) -> tuple[npt.NDArray[np.int64], Floats]:
    """(n + 1) bounds of the rows of a list column, and all its numbers behind each other."""
    wanted = pl.List(pl.Float64)
    arrow = (column if column.dtype == wanted else column.cast(wanted)).to_arrow()
    # Arrow's own way to numpy would import pandas.
    bounds = np.frombuffer(arrow.offsets.buffers()[1], np.int64)
    first = arrow.offsets.offset
    values = np.asarray(pl.Series("", arrow.values, pl.Float64).to_numpy(), dtype=np.float64)
    return bounds[first : first + len(arrow) + 1], values


def _within(values: Floats, most: float, least: float = 0.0) -> Floats:
    """Unknown below 0; the rest is cut to what can be."""
    return np.where(values >= 0, np.clip(values, least, most), np.nan)


def _first(one: Floats, other: Floats) -> Floats:
    return np.where(one >= 0, one, other)
