"""Public measurements as rows: for back-tests and benchmarks only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from predictors.base import AT
from predictors.distribution import Floats
from predictors.latency.replay import rows_of

# Relative clocks are kept from here.
_START = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
VLLM_LOGS = "burstgpt_vllm_logs"
# The engine's limits in that run: the answers' limit is in the data, the batch never passes 256.
_VLLM_SLOTS, _VLLM_LIMIT = 256.0, 1024.0
DISTSERVE = "distserve"
LLM_SERVING_SIM = "llmservingsim"


def missing(data: Path, name: str, *files: str) -> str | None:
    """One line saying what is not there; None when all is."""
    absent = [file for file in files if not (data / name / file).is_file()]
    return f"{name}: {', '.join(absent)} not found in {data / name}" if absent else None


def vllm_logs(data: Path, with_slots: bool = True) -> pl.DataFrame:
    """500 requests at each of several loads on one vLLM, with `load` and `event_id`.

    Output tokens were not recorded: they are the time of decoding times the pace that the gauges
    tell of it.

    Args:
        data: the folder of data sets.
        with_slots: whether the engine's batch limit is known, as engines tell it.
    """
    folder = data / VLLM_LOGS
    requests = pl.read_parquet(folder / "requests.parquet")
    engine = pl.read_parquet(folder / "engine.parquet")
    parts = []
    for (load,), mine in requests.group_by("scale", maintain_order=True):
        gauges = engine.filter(pl.col("scale") == load).sort("timestamp_s")
        parts.append(_vllm_load(mine, gauges, with_slots).with_columns(load=pl.lit(load)))
    return pl.concat(parts)


def _vllm_load(requests: pl.DataFrame, gauges: pl.DataFrame, with_slots: bool) -> pl.DataFrame:
    total, first = pl.col("total_chunk_time_s"), pl.col("first_chunk_time_s")
    sent = (pl.col("record_time_s") - total).alias("sent")
    known = requests.select(sent, "event_id", first, total, "in_len_tokens").sort(
        "sent", "event_id"
    )
    begin = known["sent"].to_numpy() + known["first_chunk_time_s"].to_numpy()
    end = known["sent"].to_numpy() + known["total_chunk_time_s"].to_numpy()
    progress = _progress(gauges)
    tokens = np.maximum(np.rint(progress(end) - progress(begin)), 0) + 1
    # The estimate scatters by a few per cent around the limit that it cannot pass.
    tokens = np.where(tokens > 0.955 * _VLLM_LIMIT, _VLLM_LIMIT, tokens)
    running, rate = gauges["num_running"], gauges["generation_throughput_tok_per_s"]
    asked = known.select(
        _at(pl.col("sent")).alias(AT),
        pl.col("in_len_tokens").cast(pl.Float64).alias("input_tokens"),
        first.alias("ttft_seconds"),
        total.alias("e2e_seconds"),
        pl.Series("output_tokens", tokens),
        pl.lit(_VLLM_LIMIT).alias("max_tokens"),
        pl.col("event_id").cast(pl.String).alias("request_id"),
        *[pl.lit(value).alias(name) for name, value in _VLLM_NAMES.items()],
    )
    scrapes = gauges.select(
        _at(pl.col("timestamp_s")).alias(AT),
        pl.lit("one").alias("instance"),
        running.cast(pl.Float64).alias("running"),
        pl.col("num_pending").cast(pl.Float64).alias("waiting"),
        (pl.col("gpu_kvcache_usage_pct") / 100).alias("usage_ratio"),
        pl.lit(_VLLM_SLOTS if with_slots else None, pl.Float64).alias("running_max"),
        pl.when((running > 0) & (rate > 20)).then(running / rate).alias("step_seconds"),
        pl.col("prompt_throughput_tok_per_s").alias("prompt_tokens_per_second"),
    )
    rows = rows_of(asked, scrapes)
    return rows.with_columns(pl.col("request_id").cast(pl.Int64).alias("event_id"))


_VLLM_NAMES = {"gpu_type": "", "engine": "vllm", "model": "Llama-3.2-1B", "instance": "one"}


def _progress(gauges: pl.DataFrame) -> Callable[[Floats], Floats]:
    """Tokens that a request running all the time would have put out by a time."""
    at = gauges["timestamp_s"].to_numpy()
    running = gauges["num_running"].to_numpy().astype(float)
    rate = gauges["generation_throughput_tok_per_s"].to_numpy()
    pace = np.where(running > 0, np.minimum(rate / np.maximum(running, 1), 250.0), 0.0)
    passed = np.minimum(np.diff(at, prepend=at[0] - 0.5), 2.0)
    summed = np.cumsum(pace * passed)
    return lambda times: np.asarray(np.interp(times, at, summed), dtype=np.float64)


def _at(seconds: pl.Expr) -> pl.Expr:
    return (pl.lit(_START) + pl.duration(microseconds=(seconds * 1e6).round())).cast(
        pl.Datetime("us")
    )


def distserve(data: Path) -> pl.DataFrame:
    """OPT-13B on vLLM at several rates, with `run` and `load`: no gauges, only requests."""
    found = pl.read_parquet(data / DISTSERVE / "requests.parquet")
    names = {"gpu_type": "a100", "engine": "vllm", "model": "opt-13b", "instance": "one"}
    parts = []
    for number, ((run,), mine) in enumerate(found.group_by("run", maintain_order=True)):
        issued = pl.col("issue_time_mono_s")
        asked = mine.select(
            # The runs came one after the other, on one clock that started anew.
            _at(issued - issued.min() + number * 3600.0).alias(AT),
            pl.col("prompt_tokens").cast(pl.Float64).alias("input_tokens"),
            (pl.col("ttft_ms") / 1e3).alias("ttft_seconds"),
            (pl.col("latency_ms") / 1e3).alias("e2e_seconds"),
            pl.col("output_tokens").cast(pl.Float64),
            *[pl.lit(value).alias(name) for name, value in names.items()],
        )
        marks = {"run": pl.lit(run), "load": pl.lit(mine["rate_req_per_s"][0])}
        parts.append(rows_of(asked).with_columns(**marks))
    return pl.concat(parts)
