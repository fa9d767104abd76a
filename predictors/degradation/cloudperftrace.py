"""Importer for the schema of CloudPerfTrace: executions of virtual machines beside others.

Parquet, one row an execution, in folders `tasks=N` that name the application. Six columns hold
the samples of a second each, flat: a time stamp and then the metrics, again and again.

| column | metrics | who |
| --- | --- | --- |
| `tr_self`, `tr_oth` | 53 of the hypervisor | the machine asked about; the mean of its neighbours |
| `lin_self`, `lin_oth` | 38 of Linux perf | |
| `td_self`, `td_oth` | 12 of top-down analysis | |

`perf_ori` is P. The data set names no metric inside the columns, so they are numbered.
Schema: the card of the data set (CC-BY-4.0, DOI 10.57967/hf/7847).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from predictors.base import OUTCOME
from predictors.degradation.data import read
from predictors.degradation.windows import MOST_STEPS, STEP, pack, pooled
from predictors.distribution import Floats
from store.errors import PredictorError

STEP_SECONDS = 1.0
FAMILIES = {"tr": 53, "lin": 38, "td": 12}
WHO = {"self": "self", "oth": "neighbour"}
APPLICATIONS = {
    4: "data-serving",
    5: "redis",
    6: "web-search",
    7: "graph-analytics",
    9: "data-analytics",
    10: "mlperf",
    11: "hbase",
    13: "alluxio",
    14: "minio",
    15: "tpc-c",
    16: "flink",
}


def executions(folder: Path, tasks: tuple[int, ...] = (), most_rows: int = 0) -> pl.DataFrame:
    """Executions as rows to learn from.

    Args:
        folder: holds `parquet_ds`, or is it.
        tasks: only these applications; all when empty.
        most_rows: of an application; 0 takes all.

    Returns:
        `metrics`, `window` (longer ones averaged down to 120 steps), `step_seconds`, `application`
        and `group` (the application), `workload` (its level), `outcome`.

    Raises:
        PredictorError: the folder holds no such data, or a column other ones.
    """
    base = folder / "parquet_ds" if (folder / "parquet_ds").is_dir() else folder
    found = sorted(base.glob("tasks=*"), key=lambda place: place.name)
    wanted = [place for place in found if not tasks or _task(place) in tasks]
    if not wanted:
        raise PredictorError(
            "no folders tasks=N with executions here",
            where=str(base),
            hint="hand over the folder parquet_ds of CloudPerfTrace",
        )
    return pl.concat([_application(place, most_rows) for place in wanted])


def _application(place: Path, most_rows: int) -> pl.DataFrame:
    parts = []
    left = most_rows or None
    for file in sorted(place.glob("*.parquet")):
        raw = read(file).head(left) if left is not None else read(file)
        parts.append(_rows(raw, file))
        if left is not None:
            left -= raw.height
            if left <= 0:
                break
    if not parts:
        raise PredictorError("a folder without Parquet files", where=str(place))
    name = APPLICATIONS.get(_task(place), place.name)
    return pl.concat(parts).with_columns(
        pl.lit(name).alias("application"), pl.lit(name).alias("group")
    )


def _rows(raw: pl.DataFrame, file: Path) -> pl.DataFrame:
    missing = [n for n in ("perf_ori", *_columns()) if n not in raw.columns]
    if missing:
        raise PredictorError(f"no column {', '.join(missing)}", where=str(file))
    stretches, seconds = [], []
    for row in raw.select(_columns()).iter_rows(named=True):
        whole = _joined(row, file)
        stretches.append(pooled(whole, MOST_STEPS))
        seconds.append(STEP_SECONDS * max(len(whole) / MOST_STEPS, 1.0))
    level = pl.col("workload") if "workload" in raw.columns else pl.lit(None, pl.Float64)
    return pack(_names(), stretches, STEP_SECONDS).with_columns(
        pl.Series(STEP, seconds, pl.Float64),
        raw["perf_ori"].cast(pl.Float64).alias(OUTCOME),
        raw.select(level.cast(pl.Float64).alias("workload"))["workload"],
    )


def _joined(row: dict[str, list[float] | None], file: Path) -> Floats:
    """(t, 206) of one execution: families side by side, ended where the shortest ends."""
    blocks = [
        _block(row[name], 1 + FAMILIES[name.split("_")[0]], name, file) for name in _columns()
    ]
    there = [len(block) for block in blocks if len(block)]
    steps = min(there, default=0)
    wide = [
        block[:steps, 1:] if len(block) else np.full((steps, block.shape[1] - 1), np.nan)
        for block in blocks
    ]
    return np.hstack(wide)


def _block(flat: list[float] | None, width: int, name: str, file: Path) -> Floats:
    """(t, 1 + metrics) of a column; nothing where a family was not recorded."""
    values = np.asarray(flat if flat is not None else [], dtype=np.float64).ravel()
    if len(values) % width:
        raise PredictorError(
            f"{name} holds {len(values)} numbers, which are no rows of {width}", where=str(file)
        )
    return values.reshape(-1, width)


def _columns() -> list[str]:
    return [f"{family}_{who}" for who in WHO for family in FAMILIES]


def _names() -> list[str]:
    return list(_named())


def _named() -> Iterator[str]:
    for who in WHO.values():
        for family, metrics in FAMILIES.items():
            yield from (f"{who}.{family}_{number:02d}" for number in range(1, metrics + 1))


def _task(place: Path) -> int:
    number = place.name.partition("=")[2]
    return int(number) if number.isdigit() else -1
