"""What the period cost, and how much stood idle."""

from __future__ import annotations

from analysis.reports import parts
from analysis.reports.asking import Asking, ViewDocument
from analysis.reports.document import Column, Section


def cost(asking: Asking) -> Section:
    """Every number and the first table of the view of costs, as it tells them."""
    view = asking.view("cost")
    if parts.is_empty(view):
        return Section("cost", "", empty=parts.empty_text(view), path="cost")
    before = asking.prior("cost")
    labels = {key: _words(key) for key in view["measures"]}
    tables = tuple(
        table
        for name in list(view["frames"])[:2]
        for table in parts.table(view, name, _words(name).capitalize(), _columns(view, name))
    )  # fmt: skip
    return Section(
        "cost", "",
        verdict=tuple(str(text) for text in view["sentences"][:3]),
        numbers=parts.numbers(view, labels, before),
        tables=tables,
        path="cost",
    )  # fmt: skip


def _columns(view: ViewDocument, frame: str) -> tuple[Column, ...]:
    return tuple(Column(name, _words(name), "") for name in view["frames"][frame]["columns"])


def _words(name: str) -> str:
    return name.replace("_", " ")
