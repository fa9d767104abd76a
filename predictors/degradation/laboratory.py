"""Measurements of `servescope lab` as rows: what degradation is learnt from on hosts of your own.

The laboratory writes one row a second of a run. Its metrics are the columns named `who.what_unit`;
P of any stretch of a run is the mean of `second_p`, weighted by `busy_seconds`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from predictors.base import AT, OUTCOME
from predictors.degradation.data import read
from predictors.degradation.windows import pack
from predictors.distribution import Floats
from store.errors import PredictorError

STEP_SECONDS = 1.0
HOST_METRICS = ("self.", "neighbour.", "host.", "probe.")
NEEDED = ("run_id", "second", "victim", "family", AT, "second_p", "busy_seconds", "noise")
# Whole families are left out of learning: programs of one family are alike.
LEFT_OUT_SHARE = 0.35


def seconds(path: Path) -> pl.DataFrame:
    """The rows of a file that `servescope lab export` wrote, without noisy ones.

    Raises:
        PredictorError: the file cannot be read or is no laboratory's.
    """
    rows = read(path)
    missing = [name for name in NEEDED if name not in rows.columns]
    if missing:
        raise PredictorError(
            f"no column {', '.join(missing)}",
            where=str(path),
            hint="a file that `servescope lab export` wrote",
        )
    return rows.filter(pl.col("noise") == "")


def executions(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a run, with the P of all of it; as `windows` otherwise."""
    longest = max(rows.group_by("run_id").len()["len"].to_list(), default=1)
    return windows(rows, longest, longest)


def windows(rows: pl.DataFrame, steps: int, stride: int, ahead: int = 0) -> pl.DataFrame:
    """Stretches of runs with the P of the same seconds, or of those that follow.

    Args:
        rows: as `seconds` gives them.
        steps: seconds of a window; of shorter runs, all of them.
        stride: seconds from one to the next.
        ahead: 0 for the P of the window, else that of so many seconds after it; runs that are too
            short for it give nothing.

    Returns:
        `metrics`, `window`, `step_seconds`, `application` (the victim), `group` (its family),
        `run_id`, `at` (of the last second) and `outcome`, without stretches in which the victim
        did nothing. What the victim tells of itself (`load.*`) is left out: the host alone speaks.

    Raises:
        PredictorError: there is no metric, or no stretch of that length.
    """
    names = [name for name in rows.columns if name.startswith(HOST_METRICS)]
    if not names:
        raise PredictorError("no metric in these rows", hint="columns named `who.what_unit`")
    stretches: list[Floats] = []
    told: dict[str, list[object]] = {
        name: [] for name in ("application", "group", "run_id", AT, OUTCOME)
    }
    for run in rows.sort("run_id", "second").partition_by("run_id", maintain_order=True):
        values = run.select(pl.col(names).cast(pl.Float64)).to_numpy()
        ratio, busy = (run[n].cast(pl.Float64).to_numpy() for n in ("second_p", "busy_seconds"))
        for start, end in _cuts(len(values), steps, stride, ahead):
            judged = slice(end, end + ahead) if ahead else slice(start, end)
            outcome = _performance(ratio[judged], busy[judged])
            if outcome is None:
                continue
            stretches.append(values[start:end])
            for name, value in (
                ("application", run["victim"][0]),
                ("group", run["family"][0]),
                ("run_id", run["run_id"][0]),
                (AT, run[AT][end - 1]),
                (OUTCOME, outcome),
            ):
                told[name].append(value)
    if not stretches:
        raise PredictorError(f"no run is as long as {steps + ahead} seconds")
    return pack(names, stretches, STEP_SECONDS).with_columns(
        *[pl.Series(name, told[name], pl.String) for name in ("application", "group", "run_id")],
        pl.Series(AT, told[AT], pl.Datetime("us")),
        pl.Series(OUTCOME, told[OUTCOME], pl.Float64),
    )


def unseen_programs(
    rows: pl.DataFrame, count: int = 6, seed: int = 0
) -> Iterator[tuple[str, pl.DataFrame, pl.DataFrame]]:
    """`count` random splits by family of programs: (left out, learn, judge).

    Raises:
        PredictorError: there are fewer than three families.
    """
    families = sorted(rows["group"].unique())
    if len(families) < 3:
        raise PredictorError(
            f"{len(families)} families of programs cannot be split",
            hint="measure more victims: servescope lab check",
        )
    dice = np.random.default_rng(seed)
    most = max(round(len(families) * LEFT_OUT_SHARE), 1)
    for _ in range(count):
        chosen = sorted(dice.permutation(families)[:most].tolist())
        inside = pl.col("group").is_in(chosen)
        yield ", ".join(chosen), rows.filter(~inside), rows.filter(inside)


def _cuts(length: int, steps: int, stride: int, ahead: int) -> Iterator[tuple[int, int]]:
    """Starts and ends of windows in a run."""
    if length <= steps and not ahead:
        yield 0, length
        return
    for start in range(0, length - steps - ahead + 1, stride):
        yield start, start + steps


def _performance(ratio: Floats, busy: Floats) -> float | None:
    known = np.isfinite(ratio) & (busy > 0)
    if not known.any():
        return None
    return float(np.clip(np.average(ratio[known], weights=busy[known]), 0.0, 1.0))
