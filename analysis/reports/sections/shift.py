"""What differs from as much time before."""

from __future__ import annotations

import math

from analysis.reports import parts
from analysis.reports.asking import Asking
from analysis.reports.document import Column, Point, Section
from analysis.reports.parts import Row

CLEAR_RATIO = 1.25
"""A quantity that is a quarter larger or smaller has changed; below that, weeks differ anyway."""
CLEAR_DISTANCE = 0.1
"""Kolmogorov-Smirnov distance from which two distributions differ in shape."""
_NAMES = {
    "requests_per_second": "request rate",
    "input_tokens": "input length",
    "output_tokens": "output length",
    "output_to_input_ratio": "output per input token",
    "interarrival_gap_seconds": "variation of gaps",
    "idc_1s": "burstiness at 1 s",
    "idc_60s": "burstiness at 60 s",
    "peak_to_mean_1s": "busiest second over mean",
    "failure_ratio": "share of failures",
}
_COLUMNS = (
    Column("name", "Quantity"),
    Column("a", "This period", ""),
    Column("b", "Before", ""),
    Column("ratio", "Times", "x"),
    Column("ks_distance", "Distance of the distributions (KS)", ""),
    Column("changed", "Verdict"),
)


def shift(asking: Asking) -> Section:
    """The workload beside that of the period before."""
    if not asking.has_before:
        return Section("shift", "", empty=asking.why_no_before, path="workload")
    view = asking.view("workload_compare", against="previous")
    if parts.is_empty(view):
        return Section("shift", "", empty=parts.empty_text(view), path="workload")
    rows = [_shown(row) for row in parts.rows_of(view, "differences")]
    changed = [row for row in rows if row["changed"] == "changed"]
    return Section(
        "shift", "",
        verdict=(_verdict(changed),),
        tables=parts.table(view, "differences", "Beside the period before", _COLUMNS, rows),
        notes=("Compared with as much time just before this period.",),
        findings=tuple(Point(45.0 - at, _words(row)) for at, row in enumerate(changed[:2])),
        path="workload",
    )  # fmt: skip


def _shown(row: Row) -> dict[str, object]:
    name = _NAMES.get(str(row["quantity"]), str(row["quantity"]).replace("_", " "))
    return {**row, "name": name, "changed": "changed" if _is_changed(row) else "as before"}


def _is_changed(row: Row) -> bool:
    ratio, distance = row["ratio"], row["ks_distance"]
    by_ratio = ratio is not None and ratio > 0 and abs(math.log(ratio)) >= math.log(CLEAR_RATIO)
    return by_ratio or (distance is not None and distance >= CLEAR_DISTANCE)


def _verdict(changed: list[dict[str, object]]) -> str:
    if not changed:
        return "The workload is like that of the period before."
    names = ", ".join(str(row["name"]) for row in changed[:4])
    return f"The workload changed in {names}."


def _words(row: Row) -> str:
    if row["ratio"] is None or row["a"] is None or row["b"] is None:
        return f"The distribution of {row['name']} changed."
    return (
        f"{str(row['name']).capitalize()} changed from {row['b']:.3g} to {row['a']:.3g}"
        f" ({row['ratio']:.3g} times)."
    )
