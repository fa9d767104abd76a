"""Figures of errors by horizon and by window, each predictor beside its naive rival."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from dashboard.figures.base import Look, Picture, Trace, axis, layout, line, numbers, times
from dashboard.text import number_text
from dashboard.theme import VERMILION
from store.units import counted, seconds_text, signed_percent_text


def by_horizon(frame: pl.DataFrame, unit: str, look: Look) -> Picture | str:
    """Loss against how far ahead was looked.

    Args:
        frame: `horizon_seconds`, `pinball`, `error_low`, `error_high`, `rival_pinball`,
            `skill_ratio`; `season_pinball` where there is one.
        unit: of the loss.
        look: unused, kept for the common signature.
    """
    known = frame.drop_nulls(["horizon_seconds", "pinball"]).sort("horizon_seconds")
    if known.height < 2:
        return "It is judged at one horizon only: there is no course to draw."
    minutes = known.select(at=pl.col("horizon_seconds") / 60)
    data = _pair(known, numbers(minutes, "at"))
    made = layout(
        axis("minutes ahead", from_zero=True), axis(_loss(unit), from_zero=True), legend=True
    )
    ends = [known.row(place, named=True) for place in (0, -1)]
    words = ", ".join(f"{_beside(row)} at {seconds_text(row['horizon_seconds'])}" for row in ends)
    return Picture({"data": data, "layout": made}, f"Loss by horizon: {words}.")


def by_window(frame: pl.DataFrame, unit: str, look: Look) -> Picture | str:
    """Loss in each window, named by where it begins.

    Args:
        frame: `learnt_until` and the columns of `by_horizon`.
        unit: of the loss.
        look: zone and clock.
    """
    known = frame.drop_nulls("pinball").sort("learnt_until")
    if known.is_empty():
        return "No window was judged."
    # Names, not a time axis: these are windows of the back-test, not of the range shown.
    names = [str(at)[5:16].replace("T", " ") for at in times(known, "learnt_until", look)]
    made = layout(
        axis("window that begins", "category", showgrid=False), axis(_loss(unit), from_zero=True),
        legend=True,
    )  # fmt: skip
    lost = known.filter(pl.col("pinball") > pl.col("rival_pinball")).height
    words = f"it lost against its naive rival in {lost} of {counted(known.height, 'window')}"
    return Picture({"data": _pair(known, names), "layout": made}, f"Loss by window: {words}.")


def _pair(frame: pl.DataFrame, x: Sequence[Any]) -> list[Trace]:
    ours = _points(line(x, numbers(frame, "pinball"), "predictor", 0), "circle")
    if frame["error_low"].null_count() < frame.height:
        ours["error_y"] = _bars(frame)
    ours["text"] = [_skill(row) for row in frame.iter_rows(named=True)]
    ours["hovertemplate"] = "%{y:.3~g}, skill %{text}"
    rival = line(x, numbers(frame, "rival_pinball"), "naive rival", 1)
    # Another colour, dashes and squares: never colour alone.
    style = {"color": VERMILION, "width": 2, "dash": "dash"}
    made = [ours, _points(rival, "square") | {"line": style}]
    if "season_pinball" in frame.columns and frame["season_pinball"].count():
        season = line(x, numbers(frame, "season_pinball"), "same time yesterday", 2)
        made.append(_points(season, "diamond"))
    return made


def _points(trace: Trace, symbol: str) -> Trace:
    return trace | {"mode": "lines+markers", "marker": {"size": 7, "symbol": symbol}}


def _bars(frame: pl.DataFrame) -> dict[str, Any]:
    gaps = frame.select(
        up=pl.col("error_high") - pl.col("pinball"), down=pl.col("pinball") - pl.col("error_low")
    )
    return {
        "type": "data", "symmetric": False, "array": numbers(gaps, "up"),
        "arrayminus": numbers(gaps, "down"), "thickness": 1, "width": 4,
    }  # fmt: skip


def _skill(row: dict[str, Any]) -> str:
    if row["skill_ratio"] is None:
        return "unknown"
    words = signed_percent_text(row["skill_ratio"])
    if row.get("skill_low") is None:
        return words
    ends = " to ".join(signed_percent_text(row[f"skill_{end}"]) for end in ("low", "high"))
    return f"{words} ({ends})"


def _beside(row: dict[str, Any]) -> str:
    return f"{number_text(row['pinball'])} beside {number_text(row['rival_pinball'])} of the rival"


def _loss(unit: str) -> str:
    return f"mean pinball loss, {unit}" if unit else "mean pinball loss"
