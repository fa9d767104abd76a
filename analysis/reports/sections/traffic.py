"""How much came, when, and what is worth knowing about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.reports import parts
from analysis.reports.asking import Asking, ViewDocument
from analysis.reports.document import Chart, Column, Number, Point, Section, Table
from analysis.reports.parts import Row
from store.units import counted, percent_text, signed_percent_text

CLEAR_CHANGE = 0.2
"""From a fifth more or less on, a change is worth a sentence on the first screen."""
CLEAR_ERRORS = 0.01
CLEAR_PEAK = 1.5
"""Busiest minute over mean from which a plan for the mean falls short."""
BUSY_PER_SECOND = 0.5
"""With fewer requests than this in its busiest minute, that minute is chance."""
CLEAR_DIFFERENCE = 5.0
"""Times by which output per input token differs between workloads that are unlike."""
_PACES = (("a second", 1), ("a minute", 60), ("an hour", 3600))
_FINDINGS_SHOWN = 6
_WEIGHT_OF_FINDING = 30.0
_NUMBERS = {"requests": "Requests", "requests_per_second": "Request rate"}
_BUSIEST = {"peak_to_mean_60s": "Busiest minute over mean"}
_FLEET = {
    "input_tokens_per_second": "Input tokens",
    "output_tokens_per_second": "Output tokens",
    "error_ratio": "Failed",
}
_MODELS = (
    Column("workload", "Workload"),
    Column("requests", "Requests", "requests"),
    Column("requests_per_second", "Rate", "requests/s"),
    Column("input_tokens_mean", "Mean input", "tokens"),
    Column("output_tokens_mean", "Mean output", "tokens"),
    Column("ttft_p95_seconds_high", "TTFT p95", "s"),
    Column("attainment_ratio", "Met objectives", "ratio"),
)


def traffic(asking: Asking) -> Section:
    """Requests, tokens and failures over the period, by model."""
    fleet = asking.view("fleet")
    if parts.is_empty(fleet):
        return _nothing(asking, fleet)
    arrivals = asking.view("workload_arrivals")
    told = _numbers(asking, fleet, arrivals)
    if not told:
        return _nothing(asking, arrivals)
    models = asking.view("fleet_models")
    return Section(
        "traffic",
        "",
        verdict=_verdict(asking, told),
        numbers=told,
        tables=_models(models),
        charts=_course(fleet),
        findings=_points(told),
        advice=(*_plan_for_peaks(told), *_told_apart(parts.rows_of(models, "models"))),
        path="",
    )


def _nothing(asking: Asking, view: ViewDocument) -> Section:
    """A live fleet of which nothing came may be down, or unseen: that stands first."""
    text = parts.empty_text(view)
    told = (Point(97.0, text),) if asking.is_live else ()
    return Section("traffic", "", empty=text, findings=told, path="")


def _plan_for_peaks(told: Sequence[Number]) -> tuple[Point, ...]:
    known = {one.key: one.value for one in told}
    rate, times = known.get("requests_per_second"), known.get("peak_to_mean_60s")
    if rate is None or times is None or times < CLEAR_PEAK or rate * times < BUSY_PER_SECOND:
        return ()
    text = (
        f"Plan for the requests of the busiest minute, {paced(rate * times)}, rather than for the"
        f" mean, {paced(rate)}."
    )
    return (Point(28.0, text),)


def _told_apart(rows: Sequence[Row]) -> tuple[Point, ...]:
    """Two workloads that need different things: one mostly prefill, the other mostly decoding."""
    shapes = sorted(
        (row["output_tokens_mean"] / row["input_tokens_mean"], str(row["workload"]))
        for row in rows
        if row.get("output_tokens_mean") and row.get("input_tokens_mean")
    )
    if len(shapes) < 2 or shapes[-1][0] / shapes[0][0] < CLEAR_DIFFERENCE:
        return ()
    (low, short), (high, long) = shapes[0], shapes[-1]
    text = (
        f"Try replicas or queues of their own for {short} and {long}: output per input token"
        f" differs {high / low:.0f} times."
    )
    return (Point(32.0, text),)


def _numbers(asking: Asking, fleet: ViewDocument, arrivals: ViewDocument) -> tuple[Number, ...]:
    """Counts and rates; of an engine's metrics alone there is a rate but no rows to count."""
    before = asking.prior("fleet")
    if parts.is_empty(arrivals):
        rates = {"requests_per_second": _NUMBERS["requests_per_second"], **_FLEET}
        return parts.numbers(fleet, rates, before)
    counts = parts.numbers(arrivals, _NUMBERS, asking.prior("workload_arrivals"))
    rest = parts.numbers(fleet, _FLEET, before)
    return (*counts, *rest, *parts.numbers(arrivals, _BUSIEST))


def _verdict(asking: Asking, told: Sequence[Number]) -> tuple[str, ...]:
    known = {one.key: one for one in told}
    rate = known.get("requests_per_second")
    if rate is None or rate.value is None:
        return ("How many requests came is not known.",)
    count = known.get("requests")
    much = f"{counted(count.value, 'request')} came, " if count is not None else ""
    first = f"{much}{paced(rate.value)}{_moved(rate)}."
    busiest = known.get("peak_to_mean_60s")
    if busiest is None or busiest.value is None or rate.value * busiest.value < BUSY_PER_SECOND:
        return (parts.sentence(first),)
    return (
        parts.sentence(first),
        f"The busiest minute had {busiest.value:.1f} times the mean rate.",
    )


def paced(per_second: float) -> str:
    """A rate by the second, minute or hour: the first at which it is 1 at least."""
    name, seconds = next((unit for unit in _PACES if per_second * unit[1] >= 1), _PACES[-1])
    value = per_second * seconds
    return f"{f'{value:,.0f}' if value >= 100 else f'{value:.3g}'} {name}"


def _moved(rate: Number) -> str:
    moved = parts.change(rate.value, rate.before)
    if moved is None:
        return ""
    if abs(moved) < 0.02:
        return ", as many as in the period before"
    return f", {signed_percent_text(moved)} against the period before"


def _points(told: Sequence[Number]) -> tuple[Point, ...]:
    known = {one.key: one for one in told}
    points = []
    rate = known.get("requests_per_second")
    moved = None if rate is None else parts.change(rate.value, rate.before)
    if moved is not None and abs(moved) >= CLEAR_CHANGE:
        points.append(
            Point(
                50.0,
                f"Traffic {'grew' if moved > 0 else 'fell'} by {percent_text(abs(moved), 0)}"
                f" against the period before, to {paced(_value(rate))}.",
            )
        )
    failed = known.get("error_ratio")
    if failed is not None and failed.value is not None and failed.value >= CLEAR_ERRORS:
        points.append(Point(50.0, f"{percent_text(failed.value)} of the requests failed."))
    return tuple(points)


def _value(one: Number | None) -> float:
    return 0.0 if one is None or one.value is None else one.value


def _models(models: ViewDocument) -> tuple[Table, ...]:
    rows = sorted(
        parts.rows_of(models, "models"),
        key=lambda row: (-(row.get("requests_per_second") or 0.0), str(row.get("workload"))),
    )
    return parts.table(models, "models", "What came, by workload", _MODELS, rows)


def _course(fleet: ViewDocument) -> tuple[Chart, ...]:
    rows = parts.rows_of(fleet, "sparklines")
    known = [row["requests_per_second"] for row in rows if row["requests_per_second"] is not None]
    if not known:
        return ()
    return parts.over_time(
        fleet,
        "sparklines",
        "Requests a second",
        {"requests_per_second": "requests"},
        "requests/s",
        f"Requests a second lay between {min(known):.3g} and {max(known):.3g}.",
    )


def findings(asking: Asking) -> Section:
    """What stands out in the requests themselves, best first."""
    view = asking.view("workload_findings")
    if parts.is_empty(view):
        return Section("findings", "", empty=parts.empty_text(view), path="workload")
    rows = parts.rows_of(view, "findings")
    if not rows:
        return Section("findings", "", empty="Nothing stands out in the requests.", path="workload")
    shown = [_finding(row) for row in rows[:_FINDINGS_SHOWN]]
    stand = "thing stands out" if len(rows) == 1 else "things stand out"
    first = f", the first {len(shown)} here" if len(shown) < len(rows) else ""
    return Section(
        "findings", "",
        verdict=(f"{len(rows)} {stand}{first}; the most surprising first.",),
        tables=parts.table(
            view, "findings", "What stands out",
            (Column("sentence", "Finding"), Column("evidence", "Evidence")), shown,
        ),
        findings=tuple(
            Point(_WEIGHT_OF_FINDING - at, parts.sentence(str(row["sentence"])))
            for at, row in enumerate(_different(rows)[:3])
        ),
        path="workload",
    )  # fmt: skip


def _different(rows: Sequence[Row]) -> list[Row]:
    """Those that tell something that none before them tells of the same sources."""
    chosen: list[Row] = []
    for row in rows:
        if not any(_tells(earlier, row) for earlier in chosen):
            chosen.append(row)
    return chosen


def _tells(earlier: Row, row: Row) -> bool:
    known, asked = (
        {name: set(filter(None, str(one[name]).split(", "))) for name in ("topics", "subject")}
        for one in (earlier, row)
    )
    return bool(asked["topics"]) and all(asked[name] <= known[name] for name in asked)


def _finding(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "sentence": parts.sentence(str(row["sentence"]))}
