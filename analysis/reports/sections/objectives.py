"""Were the objectives met over the period, and who spent the budget?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.reports import parts
from analysis.reports.asking import Asking, ViewDocument
from analysis.reports.coverage import instant
from analysis.reports.document import Chart, Column, Number, Point, Section, Table
from analysis.reports.parts import Row
from analysis.reports.periods import moment
from analysis.slo_gate import is_met
from analysis.slo_views import called, stands_out
from store.units import count_text, percent_text

MANY_EVENTS = 10_000
"""From so many requests on an interval is as narrow as what is printed."""
CLEAR_SHARE = 1.2
"""Times its share of the traffic from which somebody's share of the bad requests is shown."""
FEWEST_BAD = 20
MANY_BAD = 100
"""Bad requests of which somebody would stand out, were it not for something shared."""
_PERIOD = "range"
_DIMENSIONS = {"input_tokens": "input length", "output_tokens": "output length"}
_COLUMNS = (
    Column("name", "Objective"),
    Column("objective_text", "Means"),
    Column("attempted", "Requests", "requests"),
    Column("attainment_ratio", "Met by", "attainment"),
    Column("attainment_low", "at least", "attainment"),
    Column("attainment_high", "at most", "attainment"),
    Column("before_ratio", "Period before", "attainment"),
    Column("verdict", "Verdict"),
    Column("own_budget_left_ratio", "Budget left, own window", "ratio"),
)
_SPENDERS = (
    Column("dimension", "By"),
    Column("value", "Who"),
    Column("bad", "Bad requests", "requests"),
    Column("bad_share_ratio", "Share of the bad", "ratio"),
    Column("traffic_share_ratio", "Share of the traffic", "ratio"),
    Column("over_representation", "Times its share", "x"),
)


def slo(asking: Asking) -> Section:
    """Every objective judged over the period, the worst one closer."""
    listed = asking.view("slo_list", over=_PERIOD)
    rows = parts.rows_of(listed, "slos")
    judged = [row for row in rows if row["attainment_low"] is not None]
    if not judged:
        return Section("slo", "", empty=_why_nothing(listed, rows), advice=_why_not(rows),
                       path="slo")  # fmt: skip
    missed = [row for row in judged if is_met(row) is False]
    worst = min(judged, key=_margin)
    detail = asking.view("slo_detail", slo=str(worst["name"]), over=_PERIOD)
    spent = _stand_out(detail)
    return Section(
        "slo", "",
        verdict=(_verdict(judged, missed), *_more(worst, missed), *spent),
        numbers=_numbers(asking, listed, judged),
        tables=(*_table(asking, listed, rows), *_spenders(detail, missed)),
        charts=_course(detail, worst, asking.period.zone),
        notes=_unjudged(rows),
        findings=_points(worst, missed, spent),
        advice=_advice(worst, missed, parts.rows_of(detail, "spent_by") if spent else ()),
        path="slo",
    )  # fmt: skip


def _margin(row: Row) -> tuple[float, str]:
    """Share of bad requests over the allowed share: above 1 is missed; the largest is worst."""
    reached = row["attainment_ratio"]
    reached = row["attainment_low"] if reached is None else reached
    return -(1 - reached) / (1 - row["target_ratio"]), str(row["name"])


def _verdict(judged: Sequence[Row], missed: Sequence[Row]) -> str:
    unclear = sum(is_met(row) is None for row in judged)
    met = len(judged) - len(missed) - unclear
    if met == len(judged):
        return "The objective was met." if met == 1 else f"All {met} objectives were met."
    rest = f"; of {unclear} it cannot be said" if unclear else ""
    if len(judged) == 1:
        return (
            f"The objective {judged[0]['name']} was {'not met' if missed else 'not clearly met'}."
        )
    return f"{met} of {len(judged)} objectives {'was' if met == 1 else 'were'} met{rest}."


def reached_text(row: Row) -> str:
    """How many requests were good, beside the target."""
    target = f"{row['target_ratio'] * 100:.6g} %"
    if row["attainment_ratio"] is None:
        share = (
            f"between {percent_text(row['attainment_low'])} and"
            f" {percent_text(row['attainment_high'])}"
        )
    else:
        share = percent_text(row["attainment_ratio"], 2)
    return f"{share} of {count_text(row['attempted'])} requests were good (target {target})"


def _more(worst: Row, missed: Sequence[Row]) -> tuple[str, ...]:
    word = "missed its target" if missed else "came closest to its target"
    return (f"{worst['name']} {word}: {reached_text(worst)}.",)


def _why_nothing(listed: ViewDocument, rows: Sequence[Row]) -> str:
    if len(rows) == 1:
        return f"The objective {rows[0]['name']} cannot be judged: {rows[0]['why']}."
    if rows:
        return (
            f"None of {len(rows)} objectives can be judged ({rows[0]['name']}: {rows[0]['why']})."
        )
    told = [str(text) for text in listed["sentences"]]
    return "No objective is defined." if told else parts.empty_text(listed)


def _why_not(rows: Sequence[Row]) -> tuple[Point, ...]:
    if rows and not any(row["attempted"] for row in rows):
        return ()
    if rows:
        text = (
            "To judge objectives, send what is missing: times to first token come from a scraped"
            " engine, a gateway, or a trace that has them."
        )
    else:
        text = "Write the first objective: `servescope slo init` makes a file to start from."
    return (Point(20.0, text),)


def _stand_out(detail: ViewDocument) -> tuple[str, ...]:
    """Who spent it out of proportion, as the page of the objective says it."""
    return tuple(str(text) for text in detail["sentences"] if " of the bad requests" in str(text))


def _numbers(asking: Asking, listed: ViewDocument, judged: Sequence[Row]) -> tuple[Number, ...]:
    before = _by_name(asking.prior("slo_list", over=_PERIOD))
    return tuple(
        Number(
            f"attainment.{row['name']}", str(row["name"]), row["attainment_ratio"], "ratio",
            row["attainment_low"], row["attainment_high"], row["attempted"],
            None if row["attainment_ratio"] is not None else str(row["why"]),
            before.get(row["name"], {}).get("attainment_ratio"), listed["view"],
        )
        for row in judged[:4]
    )  # fmt: skip


def _by_name(view: ViewDocument | None) -> dict[str, dict[str, Any]]:
    return {} if view is None else {row["name"]: row for row in parts.rows_of(view, "slos")}


def _table(asking: Asking, listed: ViewDocument, rows: Sequence[Row]) -> tuple[Table, ...]:
    before = _by_name(asking.prior("slo_list", over=_PERIOD))
    own = _by_name(asking.view("slo_list"))
    shown = [
        {
            **row,
            **_interval(row),
            "objective_text": own.get(row["name"], row)["objective_text"],
            "before_ratio": before.get(row["name"], {}).get("attainment_ratio"),
            "own_budget_left_ratio": own.get(row["name"], {}).get("budget_left_ratio"),
            "verdict": _word(row),
        }
        for row in sorted(rows, key=lambda row: row["attainment_low"] is None)
    ]
    return parts.table(listed, "slos", "Objectives over the period", _COLUMNS, shown, most=20)


def _interval(row: Row) -> dict[str, float | None]:
    """Its ends, where they say more than the number between them."""
    is_sure = row["attainment_ratio"] is not None and row["attempted"] >= MANY_EVENTS
    return {name: None if is_sure else row[name] for name in ("attainment_low", "attainment_high")}


def _word(row: Row) -> str:
    if row["attainment_low"] is None:
        return "not judged"
    return {True: "met", False: "missed", None: "unclear"}[is_met(row)]


def _spenders(detail: ViewDocument, missed: Sequence[Row]) -> tuple[Table, ...]:
    rows = [
        {**row, "dimension": _DIMENSIONS.get(row["dimension"], row["dimension"])}
        for row in parts.rows_of(detail, "spent_by")
        if row["bad"] >= FEWEST_BAD and row["over_representation"] >= CLEAR_SHARE
    ]
    first = sorted(rows, key=lambda row: (-row["over_representation"], -row["bad"]))
    title = "Who spent the budget" if missed else "Who the bad requests were"
    return parts.table(detail, "spent_by", title, _SPENDERS, first, most=8)


def _course(detail: ViewDocument, worst: Row, zone: str) -> tuple[Chart, ...]:
    # What lies ahead is of the page: a report tells of what is over.
    rows = [
        row for row in parts.rows_of(detail, "budget")
        if row["budget_left_ratio"] is not None or row.get("projected_ratio") is None
    ]  # fmt: skip
    left = [row["budget_left_ratio"] for row in rows if row["budget_left_ratio"] is not None]
    if not left:
        return ()
    said = (
        f"Of the period's budget {percent_text(left[-1])} was left at its end."
        if left[-1] >= 0
        else f"The period's budget was spent {1 - left[-1]:.1f} times{_spent_by(rows, zone)}."
    )
    return parts.over_time(
        detail,
        "budget",
        f"How the budget of {worst['name']} went over the period",
        {"budget_left_ratio": "budget left"},
        "ratio",
        said,
        rows=parts.thinned(rows),
        limit=0.0,
        limit_label="spent",
    )


def _spent_by(rows: Sequence[Row], zone: str) -> str:
    """Since when nothing of it was left, if it stayed so."""
    since: str | None = None
    for row in rows:
        known = row["budget_left_ratio"]
        if known is not None:
            since = (since or str(row["at"])) if known < 0 else None
    at = instant(since)
    return f"; it was gone by {moment(at, zone)}" if at else ""


def _unjudged(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(
        f"{row['name']} was not judged: {row['why']}."
        for row in rows
        if row["attainment_low"] is None
    )


def _points(worst: Row, missed: Sequence[Row], spent: Sequence[str]) -> tuple[Point, ...]:
    if not missed:
        return (Point(25.0, f"{worst['name']} came closest to its target: {reached_text(worst)}."),)
    told = [
        Point(95.0 - place, f"{row['name']} missed its target: {reached_text(row)}.")
        for place, row in enumerate(sorted(missed, key=_margin)[:3])
    ]
    return (*told, *(Point(85.0, text) for text in spent))


def _advice(worst: Row, missed: Sequence[Row], spent: Sequence[Row]) -> tuple[Point, ...]:
    if not missed:
        return ()
    largest = stands_out(pl.DataFrame(spent)) if spent else None
    if largest is not None:
        who = called(largest["dimension"], largest["value"])
        share = percent_text(largest["bad_share_ratio"], 0)
        text = f"Begin with {who}: {share} of the bad requests of {worst['name']}."
        return (Point(90.0, text),)
    if (worst["bad"] or 0) >= MANY_BAD:
        where = ", and with what all requests share: no tenant, model, instance or hour stands out"
    else:
        where = ""
    return (Point(90.0, f"Begin with {worst['name']}{where}."),)
