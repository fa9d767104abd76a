"""Loads of the GenTD26 trace (production image generation, nine hours) as rows.

Stamps lie on a grid of 57 s and mark the end of what they tell. A load takes up to 60 s, so it may
have begun up to two stamps earlier. What others did and what telemetry said therefore counts only
when it is at least two stamps old (`HONEST_LAG_SECONDS`); with the sample of the same stamp one
looks into the load itself, which is what `lag_seconds=0` shows.

Source: alibaba/clusterdata, cluster-trace-v2026-GenAI. No licence stated: evaluation only.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from predictors.base import AT, OUTCOME
from predictors.cold_start.history import with_alike, with_history
from predictors.cold_start.signals import with_signals
from predictors.cold_start.spec import INSTANCE
from store.errors import PredictorError

FOLDER = "alibaba_gentd26"
STEP_SECONDS = 57
HONEST_LAG_SECONDS = 2.0 * STEP_SECONDS
LOADS = {
    "base model": ("basemodel_load", "load_duration_ms"),
    "LoRA": ("lora_load", "load_duration_ms"),
    "ControlNet": ("controlnet_load", "load_duration_ms"),
    "pipeline": ("pipeline_switch", "switch_duration_ms"),
}
# Events of the same stamp tell what had to be loaded: that they were, never how long they took.
_PARTS = {
    "loads_weights": "basemodel_load",
    "loads_adapters": "lora_load",
    "loads_controls": "controlnet_load",
}
_SIGNALS = {
    "gpu_memory_bytes": ("gpu_memory_used", "gpu_memory_used_bytes", 1.0),
    "gpu_busy_ratio": ("gpu_duty_cycle", "gpu_duty_cycle_pct", 0.01),
    "host_memory_ratio": ("pod_memory_util", "memory_util_ratio", 1.0),
    "request_seconds": ("pipeline_inference", "e2e_duration_ms", 1e-3),
    "predict_seconds": ("model_predict", "predict_duration_ms", 1e-3),
    "switch_seconds": ("pipeline_switch", "switch_duration_ms", 1e-3),
    "queue_seconds": ("queue_wait", "queue_time_ms", 1e-3),
    "adapter_load_seconds": ("lora_load", "load_duration_ms", 1e-3),
    "control_load_seconds": ("controlnet_load", "load_duration_ms", 1e-3),
}


def rows(data: Path, kind: str, lag_seconds: float = HONEST_LAG_SECONDS) -> pl.DataFrame:
    """Loads of one kind with history and telemetry, by time.

    Args:
        data: the folder that holds `alibaba_gentd26`.
        kind: a key of `LOADS`.
        lag_seconds: how old what others did and telemetry must be.

    Raises:
        PredictorError: the data set is missing.
    """
    folder = data / FOLDER
    if not folder.is_dir():
        raise PredictorError(f"{FOLDER} is missing", where=str(data))
    name, column = LOADS[kind]
    loads = _events(folder / f"{name}.parquet", column, 1e-3).rename({"value": OUTCOME})
    if kind == "pipeline":
        # A switch of 0 ms switched nothing.
        loads = loads.filter(pl.col(OUTCOME) > 0)
    made = with_history(loads, known_after_seconds=lag_seconds)
    samples = {
        signal: _events(folder / f"{file}.parquet", value, scale)
        for signal, (file, value, scale) in _SIGNALS.items()
    }
    return with_signals(made, samples, lag_seconds)


def with_parts(data: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` told which parts had to be loaded, with the history of loads alike.

    A host knows that when the request comes: it names its models, and the host knows which of them
    it holds. The trace names none, so the presence of load events of the same stamp stands for it.

    Args:
        data: the folder that holds `alibaba_gentd26`.
        rows: as `rows` made them.
    """
    for name, file in _PARTS.items():
        events = pl.read_parquet(data / FOLDER / f"{file}.parquet")
        marks = events.select(_stamp().alias(AT), pl.col("container_id").alias(INSTANCE)).unique()
        rows = rows.join(
            marks.with_columns(pl.lit(1.0).alias(name)),
            on=[AT, INSTANCE], how="left", maintain_order="left",
        ).with_columns(pl.col(name).fill_null(0.0))  # fmt: skip
    return with_alike(rows)


def _stamp() -> pl.Expr:
    return pl.from_epoch((pl.col("ts_s") * 1_000_000).cast(pl.Int64), "us")


def _events(path: Path, column: str, scale: float) -> pl.DataFrame:
    return (
        pl.read_parquet(path)
        .select(
            _stamp().alias(AT),
            pl.col("container_id").alias(INSTANCE),
            (pl.col(column) * scale).alias("value"),
        )
        .drop_nulls(INSTANCE)
        .sort(AT, INSTANCE)
    )
