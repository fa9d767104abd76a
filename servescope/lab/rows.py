"""Rows and records of a measured block: metrics a second, labels, and whether it was quiet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from collector.lab.sampler import Row
from servescope.lab.labels import Floats, Ideal, Loss, ideal, loss, overall
from servescope.lab.measure import Measured, Run
from servescope.lab.plan import ALONE, BESIDE, Block
from servescope.lab.settings import LabSettings
from servescope.lab.victims import victim

_TICKS_PER_SECOND = 100.0
_SMALLEST = 1e-3
NO_AGGRESSOR = "none"


@dataclass(frozen=True, slots=True)
class _Judged:
    """A run with what was made of it: rows that count, and what was lost in them."""

    run: Run
    rows: Sequence[Row]
    by_row: Loss | None
    whole: Loss | None

    @property
    def ratio(self) -> float:
        return float(self.whole.ratio[0]) if self.whole is not None else math.nan


def table(
    block: Block, measured: Measured, settings: LabSettings, now: datetime, now_monotonic: float
) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """One row a second, and one record a run.

    Args:
        block: what was planned.
        measured: what was seen.
        settings: what counts as quiet.
        now: an instant, aware.
        now_monotonic: the same instant on the scale of the runs.
    """
    judged = _judged(measured, settings)
    drift = _drift(judged)
    unusable = _unusable(judged, drift, settings)
    frames, records = [], []
    for number, one in enumerate(judged):
        noise = unusable or _noise(one, settings)
        record = _record(block, number, one, noise)
        records.append(record)
        if one.by_row is not None and one.rows:
            at = [now - timedelta(seconds=now_monotonic - row.end) for row in one.rows]
            frames.append(_frame(record, one, one.by_row, at))
    # Metrics that only some runs have are NULL in the others.
    rows = pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()
    return rows, records


def _judged(measured: Measured, settings: LabSettings) -> list[_Judged]:
    kept = []
    for run in measured.runs:
        late = run.start + settings.period_seconds / 2  # the row of the first second
        rows = [row for row in run.rows if row.start > late]
        kept.append((run, rows))
    alone = [_events(run, rows) for run, rows in kept if run.neighbour is None]
    every = ideal(alone, measured.pieces)
    found, number = [], 0
    for run, rows in kept:
        against = every
        if run.neighbour is None:
            # Against itself it would always be perfect.
            others = [events for place, events in enumerate(alone) if place != number]
            against = ideal(others or alone, measured.pieces)
            number += 1
        found.append(_judge(run, rows, against))
    return found


def _judge(run: Run, rows: Sequence[Row], against: Ideal) -> _Judged:
    if not rows or not len(run.events):
        return _Judged(run, rows, None, None)
    starts, ends = np.array([row.start for row in rows]), np.array([row.end for row in rows])
    by_row = loss(run.events, against, starts, ends)
    return _Judged(run, rows, by_row, overall(run.events, against, starts[0], ends[-1]))


def _events(run: Run, rows: Sequence[Row]) -> Floats:
    """Pieces begun after the first second."""
    begin = rows[0].start if rows else run.start
    return run.events[run.events[:, 1] >= begin]


def _drift(judged: Sequence[_Judged]) -> float:
    """By how much runs alone differ from the others of the block; infinite when there are none."""
    ratios = [one.ratio for one in judged if one.run.neighbour is None]
    known = [abs(ratio - 1) for ratio in ratios if math.isfinite(ratio)]
    return max(known) if len(known) > 1 else math.inf


def _unusable(judged: Sequence[_Judged], drift: float, settings: LabSettings) -> str:
    """Why no label of the block can be trusted; empty when they can."""
    for one in judged:
        noise = _noise(one, settings) if one.run.neighbour is None else ""
        if noise:
            return f"alone: {noise}"
    if drift > settings.most_drift_ratio:
        return f"runs alone differ by {drift:.0%}" if math.isfinite(drift) else "too few runs alone"
    return ""


def _noise(one: _Judged, settings: LabSettings) -> str:
    """Why the run cannot be trusted; empty when it can."""
    if one.run.failed:
        return f"failed: {one.run.failed}"
    if not one.rows or not math.isfinite(one.ratio):
        return "nothing was measured"
    background, steal = _background(one), _steal(one)
    if background > settings.most_background_ratio:
        return f"background used {background:.0%} of the cores"
    if steal > settings.most_steal_ticks_per_second:
        return f"steal of {steal:.1f} ticks a second"
    return ""


def _background(one: _Judged) -> float:
    return float(np.mean([row.background_ratio for row in one.rows])) if one.rows else 0.0


def _steal(one: _Judged) -> float:
    stolen = [row.steal_seconds for row in one.rows if row.steal_seconds is not None]
    seconds = sum(row.end - row.start for row in one.rows)
    return sum(stolen) * _TICKS_PER_SECOND / seconds if seconds else 0.0


def _record(block: Block, number: int, one: _Judged, noise: str) -> dict[str, Any]:
    neighbour = one.run.neighbour
    whole = one.whole
    first = float(whole.first_ratio[0]) if whole is not None else math.nan
    return {
        "run_id": f"b{block.number:05d}-r{number:02d}",
        "block": block.number,
        "victim": block.victim,
        "family": victim(block.victim).family,
        "load": block.load,
        "aggressor": neighbour.aggressor if neighbour else NO_AGGRESSOR,
        "shape": neighbour.shape if neighbour else "static",
        "placement": neighbour.placement if neighbour else "",
        "copies": neighbour.copies if neighbour else 0,
        "phase": BESIDE if neighbour else ALONE,
        "label_p": _clipped(one.ratio),
        "label_raw": _known(one.ratio),
        "label_ttft_p": _clipped(first),
        "rows": len(one.rows),
        "pieces": float(whole.pieces[0]) if whole is not None else 0.0,
        "achieved_per_s": _achieved(one),
        "background_ratio": _background(one),
        "steal_ticks_per_s": _steal(one),
        "noise": noise,
    }


_OF_RUN = (
    *("run_id", "block", "victim", "family", "load", "aggressor", "shape", "placement", "copies"),
    *("phase", "label_p", "label_raw", "label_ttft_p", "noise"),
)


def _frame(
    record: dict[str, Any], one: _Judged, by_row: Loss, at: Sequence[datetime]
) -> pl.DataFrame:
    seconds = np.array([row.end - row.start for row in one.rows])
    begin = one.run.start
    second = [round(row.start - begin) for row in one.rows]
    of_run = {name: [record[name]] * len(one.rows) for name in _OF_RUN}
    own = {
        "second": second,
        "at": [moment.replace(tzinfo=None) for moment in at],
        "duty": _duty(one.run, [row.start - begin for row in one.rows]),
        "second_p": [_clipped(value) for value in by_row.ratio],
        "second_ttft_p": [_clipped(value) for value in by_row.first_ratio],
        "busy_seconds": by_row.busy_seconds,
        "background_ratio": [row.background_ratio for row in one.rows],
        "load.achieved_per_s": by_row.amount / seconds,
        "load.pieces_per_s": by_row.pieces / seconds,
    }
    metrics = pl.DataFrame([dict(row.values) for row in one.rows], infer_schema_length=None)
    text = pl.DataFrame(of_run | own, schema_overrides=_TYPES)
    return pl.concat([text, metrics.cast(pl.Float64)], how="horizontal")


_TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "at": pl.Datetime("us"),
    **dict.fromkeys(("label_p", "label_raw", "label_ttft_p"), pl.Float64),
    **dict.fromkeys(("second_p", "second_ttft_p", "duty"), pl.Float64),
}


def _duty(run: Run, offsets: Sequence[float]) -> list[float]:
    if not run.duty:
        return [0.0] * len(offsets)
    return [run.duty[min(round(offset), len(run.duty) - 1)] for offset in offsets]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _achieved(one: _Judged) -> float | None:
    """Tokens a second of llama-server, else pieces a second."""
    if one.whole is None:
        return None
    return float(one.whole.amount[0]) / (one.rows[-1].end - one.rows[0].start)


def _clipped(value: float) -> float | None:
    """P lies in (0, 1]: a lucky run is not faster than alone."""
    return min(max(float(value), _SMALLEST), 1.0) if math.isfinite(value) else None
