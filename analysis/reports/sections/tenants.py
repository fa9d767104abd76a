"""Did every tenant get its share?"""

from __future__ import annotations

from analysis.reports import parts
from analysis.reports.asking import Asking, ViewDocument
from analysis.reports.document import Column, Point, Section
from store.units import percent_text

_NUMBERS = {
    "tenants": "Tenants with demand",
    "jain_index": "Evenness (Jain)",
    "attainment_gap_ratio": "Gap of attainment",
    "refused": "Refused",
}
_COLUMNS = (
    Column("tenant", "Tenant"),
    Column("requests", "Requests", "requests"),
    Column("service_share_ratio", "Share of service", "ratio"),
    Column("of_fair_share", "Of its fair share", "x"),
    Column("waiting_ratio", "Time waiting", "ratio"),
    Column("ttft_p95_seconds", "TTFT p95", "s"),
    Column("attainment_ratio", "Met objectives", "ratio"),
    Column("refused", "Refused", "requests"),
)
CLEAR_GAP = 0.05
"""Attainment of the best tenant less that of the worst, from which it is worth a sentence."""
_GOOD = ("No unfairness found", "Only one tenant")


def fairness(asking: Asking) -> Section:
    """Service, waits and attainment by tenant."""
    view = asking.view("fairness")
    if parts.is_empty(view):
        return Section("fairness", "", empty=parts.empty_text(view), path="fairness")
    sentences = tuple(str(text) for text in view["sentences"])
    first = sentences[0] if sentences else ""
    bad = [] if not first or first.startswith(_GOOD) else [Point(55.0, first)]
    if (parts.value(view, "attainment_gap_ratio") or 0.0) >= CLEAR_GAP:
        bad += [Point(52.0, text) for text in sentences[1:] if ": met for " in text]
    return Section(
        "fairness", "",
        verdict=sentences[:3],
        numbers=parts.numbers(view, _NUMBERS),
        tables=parts.table(view, "tenants", "Tenants by demand", _COLUMNS),
        charts=parts.bars(
            view, "tenants", "Share of the service, by tenant", "tenant", "service_share_ratio",
            "ratio", _largest(view),
        ),
        findings=tuple(bad),
        path="fairness",
    )  # fmt: skip


def _largest(view: ViewDocument) -> str:
    known = [row for row in parts.rows_of(view, "tenants") if row["service_share_ratio"]]
    if not known:
        return "No tenant got any service."
    first = max(known, key=lambda row: row["service_share_ratio"])
    share = percent_text(first["service_share_ratio"], 0)
    return f"{first['tenant']} got {share} of the service, more than anybody else."
