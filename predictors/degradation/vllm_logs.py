"""Requests of a real engine under rising load, as rows: `burstgpt_vllm_logs`.

P of a request is its total time at the lightest load ÷ its total time here. What is sampled are the
engine's gauges and the card in the seconds before it arrived.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from predictors.base import AT, OUTCOME
from predictors.degradation.data import read
from predictors.degradation.windows import pack
from predictors.distribution import Floats

LIGHTEST = 100
STEP_SECONDS = 0.5
STEPS = 20
_ENGINE = {
    "num_running": "self.requests_running",
    "num_pending": "self.requests_waiting",
    "gpu_kvcache_usage_pct": "self.kv_cache_usage_pct",
    "prompt_throughput_tok_per_s": "self.prompt_tokens_per_s",
    "generation_throughput_tok_per_s": "self.generation_tokens_per_s",
}
_CARD = {"gpu_util_pct": "self.gpu_busy_pct", "gpu_temp_celsius": "self.gpu_temperature_celsius"}
NAMES = (*_ENGINE.values(), *_CARD.values(), "load.input_tokens")


def requests(folder: Path) -> pl.DataFrame:
    """One row a request of every load but the lightest, in the order of arrival.

    Returns:
        `metrics`, `window`, `step_seconds`, `group` and `application` (the load), `event` (which
        request of the trace; the same one comes at every load), `at`, `outcome`.

    Raises:
        PredictorError: a file is missing.
    """
    raw, engine, card = (read(folder / f"{n}.parquet") for n in ("requests", "engine", "gpu"))
    alone = raw.filter(pl.col("scale") == LIGHTEST).select(
        "event_id", ideal=pl.col("total_chunk_time_s")
    )
    loaded = raw.filter(pl.col("scale") != LIGHTEST).join(alone, on="event_id")
    loaded = loaded.with_columns(
        arrived=pl.col("record_time_s") - pl.col("total_chunk_time_s"),
        p=(pl.col("ideal") / pl.col("total_chunk_time_s")).clip(0, 1),
    ).sort("scale", "arrived")
    parts = []
    for (scale,), asked in loaded.group_by("scale", maintain_order=True):
        samples = _samples(
            engine.filter(pl.col("scale") == scale), card.filter(pl.col("scale") == scale)
        )
        parts.append(_rows(str(scale), asked, *samples))
    return pl.concat(parts)


def _samples(engine: pl.DataFrame, card: pl.DataFrame) -> tuple[Floats, Floats]:
    """(times, (t, metrics)) of the engine's gauges with the card's newest reading beside them."""
    engine = engine.sort("timestamp_s")
    card = card.sort("record_time_s")
    times = engine["timestamp_s"].to_numpy()
    newest = np.searchsorted(card["record_time_s"].to_numpy(), times, side="right") - 1
    readings = card.select(_CARD.keys()).cast(pl.Float64).to_numpy()
    beside = np.where(newest[:, None] >= 0, readings[np.maximum(newest, 0)], np.nan)
    return times, np.hstack([engine.select(_ENGINE.keys()).cast(pl.Float64).to_numpy(), beside])


def _rows(load: str, asked: pl.DataFrame, times: Floats, samples: Floats) -> pl.DataFrame:
    # A gauge that was read after the arrival may hold the request itself.
    until = np.searchsorted(times, asked["arrived"].to_numpy(), side="left")
    tokens = asked["in_len_tokens"].cast(pl.Float64).to_numpy()
    stretches = [
        np.column_stack([part := samples[max(end - STEPS, 0) : end], np.full(len(part), size)])
        for end, size in zip(until.tolist(), tokens.tolist(), strict=True)
    ]
    return pack(NAMES, stretches, STEP_SECONDS).with_columns(
        pl.lit(load).alias("group"),
        pl.lit(load).alias("application"),
        asked["event_id"].alias("event"),
        pl.from_epoch((asked["arrived"] * 1e6).cast(pl.Int64), time_unit="us").alias(AT),
        asked["p"].alias(OUTCOME),
    )
