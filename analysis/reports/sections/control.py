"""What the controller decided, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.reports import parts
from analysis.reports.asking import Asking, ViewDocument
from analysis.reports.document import Chart, Column, Point, Section
from analysis.reports.parts import Row
from store.units import counted, percent_text

_NUMBERS = {
    "decisions": "Decisions",
    "changes": "Changes of replicas",
    "blocked": "Held by a guard",
    "unsettled": "Not settled now",
}
_CHANGES = (
    Column("at", "When", "time"),
    Column("pool", "Pool"),
    Column("before_replicas", "From", "replicas"),
    Column("final_replicas", "To", "replicas"),
    Column("state", "State"),
    Column("text", "Why"),
)
_REHEARSED = (
    Column("pool", "Pool"),
    Column("steps", "Steps", ""),
    Column("agreed", "Left as it was", ""),
    Column("wanted_replica_hours", "Replica-hours it would have set", "h"),
    Column("there_replica_hours", "Replica-hours there were", "h"),
)
_OUTCOMES = (
    Column("quantity", "Quantity"),
    Column("decisions", "Decisions", ""),
    Column("predicted_mean", "Expected, mean", ""),
    Column("observed_mean", "Came true, mean", ""),
)
_KINDS_OF_CHANGE = ("applied", "dry-run", "failed", "waiting", "rejected")


def controller(asking: Asking) -> Section:
    """Counts, changes, what was expected of them and what came true."""
    view = asking.view("controller")
    if parts.is_empty(view):
        return Section("controller", "", empty=parts.empty_text(view), path="controller")
    if not parts.value(view, "decisions"):
        return Section("controller", "", empty="No decision was made in this period.",
                       path="controller")  # fmt: skip
    changes = [
        row
        for row in parts.rows_of(view, "timeline")
        if row["kind"] != "hold" and row["state"] in _KINDS_OF_CHANGE
    ]
    tables = (
        *parts.table(view, "timeline", "Changes of replicas, the newest first", _CHANGES, changes),
        *parts.table(view, "outcomes", "What was expected, and what came true", _OUTCOMES,
                     _outcomes(view)),
        *parts.table(view, "rehearsed", "What dry-run would have given", _REHEARSED),
    )  # fmt: skip
    return Section(
        "controller", "",
        verdict=_verdict(view, changes),
        numbers=parts.numbers(view, _NUMBERS, asking.prior("controller")),
        tables=tables,
        charts=_lanes(view),
        findings=_points(view, changes),
        advice=_advice(changes),
        path="controller",
    )  # fmt: skip


def _verdict(view: ViewDocument, changes: Sequence[Row]) -> tuple[str, ...]:
    decided, changed, held = (
        parts.value(view, name) for name in ("decisions", "changes", "blocked")
    )
    dry = sum(row["state"] == "dry-run" for row in changes)
    only = (
        " None of it was applied: the pools are in dry-run." if dry and dry == len(changes) else ""
    )
    return (
        f"{counted(decided, 'decision')}: {counted(changed, 'change')} of replicas,"
        f" {counted(held, 'hold')} by a guard.{only}",
    )


def _points(view: ViewDocument, changes: Sequence[Row]) -> tuple[Point, ...]:
    failed = [row for row in changes if row["state"] == "failed"]
    points = []
    if failed:
        text = f"{counted(len(failed), 'change')} of replicas failed, last: {failed[0]['text']}"
        points.append(Point(82.0, parts.sentence(text)))
    open_now = parts.value(view, "unsettled")
    if open_now:
        points.append(Point(78.0, f"{counted(open_now, 'pool')} is not as it was told to be."))
    return (*points, *_rehearsed(view))


def _advice(changes: Sequence[Row]) -> tuple[Point, ...]:
    failed = [row for row in changes if row["state"] == "failed"]
    if not failed:
        return ()
    text = f"Read what the platform answered to the change of {failed[0]['pool']}: page Controller."
    return (Point(82.0, text),)


def _rehearsed(view: ViewDocument) -> tuple[Point, ...]:
    rows = parts.rows_of(view, "rehearsed")
    wanted = sum(row["wanted_replica_hours"] or 0.0 for row in rows)
    there = sum(row["there_replica_hours"] or 0.0 for row in rows)
    if there <= 0 or abs(wanted / there - 1) < 0.05:
        return ()
    word = "fewer" if wanted < there else "more"
    return (
        Point(
            40.0,
            f"In dry-run the controller would have set {percent_text(abs(wanted / there - 1), 0)}"
            f" {word} replica-hours than there were ({wanted:,.0f} against {there:,.0f}).",
        ),
    )


def _outcomes(view: ViewDocument) -> list[dict[str, object]]:
    """Means over decisions of which both sides are known, by quantity."""
    by_quantity: dict[str, list[Row]] = {}
    for row in parts.rows_of(view, "outcomes"):
        if row["predicted"] is not None and row["observed"] is not None:
            by_quantity.setdefault(str(row["quantity"]), []).append(row)
    return [
        {
            "quantity": name.replace("_", " "),
            "decisions": len(rows),
            "predicted_mean": sum(row["predicted"] for row in rows) / len(rows),
            "observed_mean": sum(row["observed"] for row in rows) / len(rows),
        }
        for name, rows in sorted(by_quantity.items())
    ]


def _lanes(view: ViewDocument) -> tuple[Chart, ...]:
    """Replicas of the largest pool."""
    rows = parts.rows_of(view, "lanes")
    sizes: dict[str, float] = {}
    for row in rows:
        sizes[row["pool"]] = max(sizes.get(row["pool"], 0.0), row["running"] or 0.0)
    if not sizes:
        return ()
    pool = max(sorted(sizes), key=lambda name: sizes[name])
    return parts.over_time(
        view, "lanes", f"Replicas of {pool}",
        {"running": "running", "target": "after limits", "desired": "what the policy wants"},
        "replicas", f"{pool} ran at most {sizes[pool]:.0f} replicas.",
        rows=[row for row in rows if row["pool"] == pool],
    )  # fmt: skip
