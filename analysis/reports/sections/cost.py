"""What the period cost, and how much stood idle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.reports import parts
from analysis.reports.asking import Asking, ViewDocument
from analysis.reports.document import Column, Number, Point, Section, Table

CLEAR_IDLE = 0.4
"""From two fifths of the GPU time idle on, that is worth a sentence on the first screen."""
_LABELS = {
    "gpu_hours": "GPU time",
    "idle_ratio": "Idle",
    "cost": "Cost",
    "idle_cost": "Cost of idle time",
    "cost_per_million_output_tokens": "A million output tokens",
    "cost_per_request": "A request",
    "cost_per_met_request": "A request that met its objective",
    "energy_kwh": "Energy",
}
_PARTS = ("busy", "idle", "starting", "draining", "untold")


def cost(asking: Asking) -> Section:
    """GPU-hours and money by what became of them, by pool and by tenant."""
    view = asking.view("cost")
    if parts.is_empty(view):
        return Section("cost", "", empty=parts.empty_text(view), path="cost")
    sentences = tuple(str(text) for text in view["sentences"])
    idle = parts.value(view, "idle_ratio") or 0.0
    is_idle = idle >= CLEAR_IDLE and bool(sentences)
    return Section(
        "cost", "",
        verdict=sentences[:3],
        numbers=_numbers(asking, view),
        tables=_tables(view, str(view["measures"]["cost"]["unit"])),
        charts=parts.bars(
            view, "kinds", "Where the GPU time went", "kind", "share_ratio", "ratio",
            "Busy time is a tenant's; idle, starting and draining time is nobody's.",
        ),
        notes=sentences[3:],
        findings=(Point(42.0, sentences[0]),) if is_idle else (),
        advice=(Point(42.0, _LESS),) if is_idle else (),
        path="cost",
    )  # fmt: skip


_LESS = "Try fewer replicas where they stand idle, in a replay: page What-if."


def _numbers(asking: Asking, view: ViewDocument) -> tuple[Number, ...]:
    """Beside as much time before, as the view itself compares."""
    before = {row["quantity"]: row["before"] for row in parts.rows_of(view, "trend")}
    found = parts.numbers(view, _LABELS)
    if not asking.has_before:
        return found
    return tuple(replace(one, before=before.get(one.key)) for one in found)


def _tables(view: ViewDocument, currency: str) -> tuple[Table, ...]:
    hours, money = Column("gpu_hours", "All", "GPU-hours"), Column("cost", "Cost", currency)
    split = [Column(f"{name}_gpu_hours", name.capitalize(), "GPU-hours") for name in _PARTS]
    idle = Column("idle_ratio", "Idle", "ratio")
    by_pool = (Column("pool", "Pool"), hours, *split, idle, money)
    tenants = [row for row in parts.rows_of(view, "tenants") if _counts(row)]
    return (
        *parts.table(view, "pools", "By pool", by_pool),
        *parts.table(view, "models", "By model", (Column("model", "Model"), hours, idle, money)),
        *parts.table(
            view, "tenants", "By tenant, and what is nobody's",
            (Column("tenant", "Tenant"), Column("kind", "What"), hours, money), _named(tenants),
        ),
    )  # fmt: skip


def _counts(row: parts.Row) -> bool:
    return bool(row.get("gpu_hours"))


def _named(rows: Sequence[parts.Row]) -> list[dict[str, object]]:
    return [{**row, "tenant": row.get("tenant") or "nobody"} for row in rows]
