"""A whole workload in one answer: JSON-ready for programs, lines of text for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import polars as pl

from analysis.findings import findings_view, gather
from analysis.measure import QUOTIENTS, Measure, View
from analysis.workload.compare import workload_compare
from analysis.workload.loading import members, recorded
from analysis.workload.words import number_text, time_text
from store.queries import workload as queries
from store.queries.scope import Scope
from store.units import percent_text, seconds_text

SCHEMA = "servescope.analyze/1"
_MOST_FINDINGS = 12
_TITLES = {
    "workload_arrivals": "Arrivals",
    "workload_burstiness": "Burstiness",
    "workload_lengths": "Lengths",
    "workload_clients": "Clients",
    "workload_sessions": "Sessions",
    "workload_prefix": "Prefix reuse",
    "workload_failures": "Failures",
    "workload_compare": "Comparison",
}


Shown = Callable[[View], View]


def _as_it_is(view: View) -> View:
    return view


def analyse(
    reader: queries.FrameReader, scope: Scope, against: str | None = None, shown: Shown = _as_it_is
) -> dict[str, View]:
    """Every workload view, the findings, and the comparison when one is asked for.

    Args:
        reader: the store.
        scope: what to characterise.
        against: source names, or "previous"; see `workload_compare`.
        shown: what makes of a view what may be shown.

    Raises:
        InputError: `against` names no source.
    """
    compared = workload_compare(reader, scope, against) if against else None
    found = gather(reader, scope)
    found["workload_findings"] = findings_view(reader, scope, found)
    if compared is not None:
        found["workload_compare"] = compared
    return {name: shown(view) for name, view in found.items()}


def characterise(
    reader: queries.FrameReader, scope: Scope, against: str | None = None, shown: Shown = _as_it_is
) -> dict[str, Any]:
    """The same as plain JSON values, in the stable form `servescope.analyze/1`.

    Returns:
        schema; scope (sources, from, to); findings (rows of the frame); views: name → measures
        (value, unit, low, high, n, why), frames (name → rows), sentences, empty. Times are ISO
        8601; those of a relative clock count from 1970-01-01.
    """
    found = analyse(reader, scope, against, shown)
    return {
        "schema": SCHEMA,
        "scope": {
            "sources": [member.name for member in members(reader, scope)],
            "from": scope.start.isoformat(),
            "to": scope.end.isoformat(),
        },
        "findings": _rows(found["workload_findings"].frames["findings"]),
        "views": {name: _plain(view) for name, view in found.items()},
    }


def _plain(view: View) -> dict[str, Any]:
    empty = view.empty
    return {
        "measures": {name: _measure(measure) for name, measure in view.measures.items()},
        "frames": {name: _rows(frame) for name, frame in view.frames.items()},
        "sentences": list(view.sentences),
        "empty": None if empty is None else {"kind": empty.kind, "text": empty.text},
    }


def _measure(measure: Measure) -> dict[str, Any]:
    return {
        "value": measure.value,
        "unit": measure.unit,
        "low": measure.low,
        "high": measure.high,
        "n": measure.n,
        "why": measure.why,
    }


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [{key: _value(value) for key, value in row.items()} for row in frame.to_dicts()]


def _value(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime | date) else value


def text_report(
    reader: queries.FrameReader, scope: Scope, against: str | None = None, shown: Shown = _as_it_is
) -> list[str]:
    """Findings first, then a section a view, as lines for a terminal."""
    found = analyse(reader, scope, against, shown)
    sources = members(reader, scope)
    names = ", ".join(member.name for member in sources)
    lines = [f"{names}: {_range_text(recorded(reader, scope))}"]
    lines += ["", "Findings", *_finding_lines(found["workload_findings"])]
    for name, title in _TITLES.items():
        if name in found:
            lines += ["", title, *_section(found[name])]
    return lines


def _range_text(scope: Scope) -> str:
    return f"{time_text(scope.start)} to {time_text(scope.end)}"


def _finding_lines(view: View) -> list[str]:
    frame = view.frames["findings"]
    if frame.is_empty():
        return [f"  {view.empty.text}" if view.empty else "  Nothing stands out."]
    lines = []
    for row in frame.head(_MOST_FINDINGS).iter_rows(named=True):
        lines += [f"  {row['rank']:>2}. {row['sentence']}", f"      {row['evidence']}"]
    lines.append(f"  look further: {frame['command'][0]}")
    left = frame.height - _MOST_FINDINGS
    return [*lines, f"  and {left} more (--json has all)"] if left > 0 else lines


def _section(view: View) -> list[str]:
    if view.empty is not None:
        return [f"  {view.empty.text}"]
    lines = [f"  {sentence}" for sentence in view.sentences]
    shown = [
        f"{name} {_shown(name, m)}".removesuffix(f" {name}") for name, m in view.measures.items()
    ]
    return lines + [f"    {line}" for line in _wrapped(shown)]


def _shown(name: str, measure: Measure) -> str:
    return measure_text(replace(measure, unit="") if name in QUOTIENTS else measure)


def measure_text(measure: Measure) -> str:
    """A measure in words: its value and unit, or "unknown" with the reason."""
    if measure.value is None:
        return f"unknown ({measure.why})" if measure.why else "unknown"
    if measure.unit == "ratio":
        return percent_text(measure.value)
    if measure.unit == "s":
        return seconds_text(measure.value)
    return f"{number_text(measure.value)} {measure.unit}".rstrip()


def _wrapped(parts: list[str], width: int = 96) -> list[str]:
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return lines
