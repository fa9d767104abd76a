"""What was wrong: the verdict at the end of the period, and the alerts that fired in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.reports import parts
from analysis.reports.asking import Asking, ViewDocument
from analysis.reports.document import Column, Number, Point, Section
from store.units import counted

_CONTRIBUTORS = (
    Column("dimension", "By"),
    Column("value", "Who"),
    Column("bad", "Bad requests", "requests"),
    Column("bad_share_ratio", "Share of the bad", "ratio"),
    Column("traffic_share_ratio", "Share of the traffic", "ratio"),
    Column("over_representation", "Times its share", "x"),
)
_PHASES = (
    Column("phase", "Phase"),
    Column("typical_seconds", "Typical", "s"),
    Column("bad_mean_seconds", "Of the bad, mean", "s"),
    Column("excess_share_ratio", "Share of the excess", "ratio"),
    Column("bad", "Bad requests", "requests"),
)
_EVENTS = (Column("at", "When", "time"), Column("kind", "What"), Column("text", "Details"))
_FIRED = (
    Column("name", "Alert"),
    Column("severity", "Severity"),
    Column("text", "What"),
    Column("from_at", "From", "time"),
    Column("until_at", "Until", "time"),
)
CLEAR_SHARE = 1.2
_PAGE = "page"


def why(asking: Asking) -> Section:
    """The Fleet page's verdict at the end of the period, with its evidence."""
    view = asking.view("why")
    if parts.is_empty(view):
        return Section("why", "", empty=parts.empty_text(view), path="")
    if not view["sentences"]:
        return Section("why", "", empty="Nothing was wrong at the end of the period.", path="")
    in_trouble = bool(parts.value(view, "burning"))
    first = str(view["sentences"][0])
    return Section(
        "why", "",
        verdict=tuple(str(text) for text in view["sentences"][:4]),
        tables=(
            *parts.table(view, "contributors", "Whose requests were bad", _CONTRIBUTORS,
                         _stand_out(view), most=6),
            *parts.table(view, "phases", "Which phase took too long", _PHASES),
            *parts.table(view, "events", "What happened around the onset", _EVENTS),
        ),
        notes=("As things stood at the end of the period.",),
        findings=(Point(98.0, first),) if in_trouble else (),
        path="",
    )  # fmt: skip


def _stand_out(view: ViewDocument) -> list[Mapping[str, Any]]:
    rows = parts.rows_of(view, "contributors")
    chosen = [row for row in rows if row["bad"] and row["over_representation"] >= CLEAR_SHARE]
    return sorted(chosen, key=lambda row: -row["over_representation"])


def alerts(asking: Asking) -> Section:
    """What fired in the period, pages first."""
    if not asking.is_live:
        text = "Alerts are of the live fleet; nobody is woken by a trace."
        return Section("alerts", "", empty=text, path="alerts")
    view = asking.view("alerts")
    rows = parts.rows_of(view, "periods")
    if not rows:
        return Section("alerts", "", empty="No alert fired in this period.", path="alerts")
    pages = [row for row in rows if row["severity"] == _PAGE]
    return Section(
        "alerts", "",
        verdict=(_fired(rows, pages),),
        numbers=(
            Number("fired", "Alerts that fired", float(len(rows)), "", view=view["view"]),
            Number("pages", "Of them pages", float(len(pages)), "", view=view["view"]),
        ),
        tables=parts.table(view, "periods", "What fired, pages first", _FIRED,
                           [*pages, *(row for row in rows if row["severity"] != _PAGE)]),
        findings=tuple(
            Point(88.0, f"{counted(len(pages), 'page')}, the last: {row['text']}")
            for row in pages[:1]
        ),
        path="alerts",
    )  # fmt: skip


def _fired(rows: Sequence[Mapping[str, Any]], pages: Sequence[Mapping[str, Any]]) -> str:
    some = f", {counted(len(pages), 'page')} among them" if pages else ", none of them a page"
    return f"{counted(len(rows), 'alert')} fired{some}."
