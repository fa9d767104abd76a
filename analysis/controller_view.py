"""What the controller did and would do: modes, replica lanes, decisions, what is not settled.

Everything comes from the ledger's rows; nothing here decides.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import polars as pl

from analysis.controller_replayed import replayed
from analysis.measure import Empty, Measure, View
from store.errors import InputError
from store.queries import control_marks
from store.queries import decisions as queries
from store.queries.scope import Scope
from store.reader import Reader

MOST_LANE_BINS = 300
MOST_DECISIONS = 300
_NOTHING = (
    "Nothing was decided yet. Configure [[controller.pool]] and start `servescope up`: pools begin"
    " in dry-run, which decides and does nothing."
)
_STATES = {
    "applied": "applied",
    "unchanged": "applied",
    "failed": "failed",
    "refused": "failed",
    "conflict": "failed",
    "abandoned": "failed",
}


def controller(reader: Reader, scope: Scope, *, now: datetime, pool: str = "") -> View:
    """Modes, lanes and decisions of a range.

    Measures: pools, decisions, changes, blocked (held by a guard), unsettled, waiting.
    Frames: `modes` (as `store.queries.decisions.treated`), `lanes` (at, pool, desired: what the
    policy wants, target: after limits, wanted: what the platform was told, running, starting,
    draining, mode), `timeline` (decision_id, at, until_at, pool, kind, state, mode,
    before_replicas, final_replicas, ticks, text), `decisions` (as
    `store.queries.decisions.listed`), `pending` (decision_id, pool, before_replicas,
    final_replicas, decided_at, expires_at, reason, attainment_ratio and cost over the settling
    time, both also as they would be `_unchanged`, and cost_per_hour_change), `unsettled`,
    `outcomes`, `freezes` (pool, from_at, until_at, changed_by, comment), `rehearsed` (what dry-run
    would have given, as `store.queries.control_marks.rehearsed`), `replayed` (what a replay says of
    the policy's own course, as `analysis.controller_replayed`), `audit`.

    Args:
        reader: the store.
        scope: its time range.
        now: for freezes and what waits.
        pool: only this one; "" is all.
    """
    start, end = scope.start.replace(tzinfo=None), scope.end.replace(tzinfo=None)
    at, names = now.replace(tzinfo=None), [pool] if pool else []
    modes = _of_pool(queries.treated(reader, at), pool)
    listed = queries.listed(reader, names, start, end, MOST_DECISIONS)
    audit, told = queries.audited(reader)
    outcomes, came = queries.outcomes_between(reader, names, start, end)
    frames = {
        "modes": modes,
        "lanes": queries.lanes(reader, names, start, end, scope.bin_seconds(MOST_LANE_BINS)),
        "timeline": timeline(listed),
        "decisions": listed,
        "pending": _of_pool(_pending(queries.pending(reader, at)), pool),
        "unsettled": _of_pool(queries.unsettled(reader), pool),
        "outcomes": outcomes,
        "freezes": _of_pool(control_marks.freezes(reader, start, end), pool),
        "rehearsed": _of_pool(control_marks.rehearsed(reader, start, end), pool),
        "replayed": replayed(reader, dict(modes.select("pool", "policy").iter_rows())),
        "audit": audit,
    }
    there = queries.listed_count(reader, names, start, end, listed.height, MOST_DECISIONS)
    totals = {"decisions": there, "timeline": there, "outcomes": came, "audit": told}
    if modes.is_empty():
        return View("controller", scope, frames=frames, empty=Empty("nothing_connected", _NOTHING))
    counts = queries.counted(reader, start, end)
    measures = {
        name: Measure(float(counts[name]), "") for name in ("decisions", "changes", "blocked")
    }
    measures |= {
        "pools": Measure(float(modes.height), ""),
        "unsettled": Measure(float(frames["unsettled"].height), ""),
        "waiting": Measure(float(frames["pending"].height), ""),
    }
    sentences = tuple(_sentences(frames, counts))
    return View("controller", scope, measures, frames, sentences, totals=totals)


def _of_pool(frame: pl.DataFrame, pool: str) -> pl.DataFrame:
    return frame.filter(pl.col("pool") == pool) if pool else frame


def timeline(listed: pl.DataFrame) -> pl.DataFrame:
    """One row a change of decision, holds folded: how it is drawn and what it says.

    Args:
        listed: as of `store.queries.decisions.listed`.
    """
    rows = [_marker(row) for row in listed.iter_rows(named=True)]
    schema: dict[str, Any] = {
        "decision_id": pl.Int64, "at": pl.Datetime("us"), "until_at": pl.Datetime("us"),
        "pool": pl.String, "kind": pl.String, "state": pl.String, "mode": pl.String,
        "before_replicas": pl.Int64, "final_replicas": pl.Int64, "ticks": pl.Int64,
        "text": pl.String,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


def _marker(row: dict[str, Any]) -> dict[str, Any]:
    names = ("decision_id", "until_at", "pool", "kind", "mode", "before_replicas", "final_replicas")
    return {
        **{name: row[name] for name in names},
        "at": row["decided_at"],
        "ticks": row["ticks"],
        "state": _state(row),
        "text": _text(row),
    }


def _state(row: dict[str, Any]) -> str:
    """One of applied, failed, dry-run, waiting, rejected, blocked, steady."""
    if row["kind"] == "hold":
        return "blocked" if row["binding"] else "steady"
    if row["action_outcome"]:
        return _STATES.get(row["action_outcome"], "failed")
    if row["mode"] == "dry-run":
        return "dry-run"
    return row["verdict"] or ("waiting" if row["mode"] == "approve" else "failed")


def _text(row: dict[str, Any]) -> str:
    bound = f" [{row['binding']}]" if row["binding"] else ""
    if row["kind"] == "hold":
        times = f" {row['ticks']} steps" if row["ticks"] > 1 else ""
        return f"held {row['final_replicas']}{times}: {row['reason']}{bound}"
    asked = row["proposed_replicas"]
    wish = f" (asked for {asked})" if asked not in (None, row["final_replicas"]) else ""
    change = f"{row['before_replicas']} -> {row['final_replicas']}"
    return f"{change}{wish}: {row['reason']}{bound}"


def _pending(frame: pl.DataFrame) -> pl.DataFrame:
    names = (
        "decision_id", "pool", "before_replicas", "final_replicas", "decided_at", "expires_at",
        "reason",
    )  # fmt: skip
    told = [json.loads(text) for text in frame["numbers"].cast(pl.String).to_list()]
    parts = {
        f"{name}{suffix}": pl.Series(
            [one.get(kind, {}).get(name) for one in told], dtype=pl.Float64
        )
        for kind, suffix in (("expected", ""), ("unchanged", "_unchanged"))
        for name in ("attainment_ratio", "cost")
    }
    made = frame.select(names).with_columns(**parts)
    hourly = [
        _hourly_change(one, row["before_replicas"], row["final_replicas"])
        for one, row in zip(told, made.iter_rows(named=True), strict=True)
    ]
    return made.with_columns(cost_per_hour_change=pl.Series(hourly, dtype=pl.Float64))


def _hourly_change(told: dict[str, Any], before: int | None, after: int | None) -> float | None:
    """What a change adds to the cost of an hour; None without a price."""
    for kind in ("expected", "unchanged"):
        one = told.get(kind, {})
        if (
            one.get("cost")
            and one.get("replica_hours")
            and before is not None
            and after is not None
        ):
            return float(one["cost"] / one["replica_hours"] * (after - before))
    return None


def _sentences(frames: dict[str, pl.DataFrame], counts: dict[str, Any]) -> list[str]:
    found = [
        f"{row['pool']} should have {row['desired']} replicas and has {row['actual']}:"
        f" {row['reason']} ({row['attempts']} attempt{'s' * (row['attempts'] != 1)})."
        for row in frames["unsettled"].iter_rows(named=True)
    ]
    for row in frames["modes"].iter_rows(named=True):
        if row["foreign_replicas"] is not None:
            found.append(
                f"Somebody else set {row['pool']} to {row['foreign_replicas']}; it is held until"
                " resumed."
            )
        if row["is_frozen"]:
            until = row["frozen_until"]
            said = "somebody resumes it" if until is None else f"{until:%-d %b %H:%M} UTC"
            found.append(f"{row['pool']} is frozen until {said}, by {row['frozen_by']}.")
    if counts["decisions"]:
        found.append(
            f"{counts['decisions']} decisions, {counts['changes']} of them changes;"
            f" {counts['blocked']} were held by a limit or for want of trust."
        )
    return found


def controller_decision(reader: Reader, scope: Scope, *, decision: str = "") -> View:
    """One decision as it was recorded; the newest change where none is named.

    Frames: `decision` (one row), `inputs` (signal, value, grade, age_seconds, share_ratio),
    `forecasts` (horizon_seconds, level, value, age_seconds), `clips` (guard, before, after, text),
    `numbers` (kind: policy or expected, name, value), `actions`, `outcomes`, `notes` (text).

    Args:
        reader: the store.
        scope: ignored but for the answer.
        decision: its number.

    Raises:
        InputError: no such decision.
    """
    number = _number(reader, decision)
    found = None if number is None else queries.decision(reader, number)
    if found is None:
        if decision:
            raise InputError(
                f"there is no decision {decision}", hint="the view controller has them"
            )
        return View("controller_decision", scope, empty=Empty("nothing_connected", _NOTHING))
    numbers, clips = json.loads(found.pop("numbers")), json.loads(found.pop("clips"))
    frames = {
        "decision": pl.DataFrame([found], infer_schema_length=None),
        "clips": _frame(clips, ("guard", "pool", "before", "after", "text")),
        "numbers": _frame(
            [
                {"kind": kind, "name": name, "value": value}
                for kind, told in numbers.items()
                for name, value in told.items()
            ],
            ("kind", "name", "value"),
        ),
        "actions": pl.DataFrame(queries.actions(reader, found["repeats"] or found["decision_id"])),
        "outcomes": queries.outcomes(reader, [found["decision_id"]]),
        **_seen(reader, found),
    }
    return View("controller_decision", scope, {}, frames, (found["reason"],))


def _number(reader: Reader, decision: str) -> int | None:
    if decision:
        if not decision.isdigit() or len(decision) > 18:
            raise InputError(f"'{decision}' is no number of a decision", hint="such as 1234")
        return int(decision)
    newest = queries.listed(reader, most=1)
    return None if newest.is_empty() else int(newest["decision_id"][0])


def _seen(reader: Reader, found: dict[str, Any]) -> dict[str, pl.DataFrame]:
    """What was seen of the decision's pool, from the record of its step."""
    kept = found["observation_id"] and queries.record(reader, found["observation_id"])
    pools = json.loads(kept["content"])["observation"]["pools"] if kept else []
    view = next((one for one in pools if one["name"] == found["pool"]), None)
    inputs, forecasts = [], []
    for name, one in (view["signals"] if view else {}).items():
        inputs.append(
            {
                "signal": name, "value": one["value"], "grade": one["grade"],
                "age_seconds": one["age_seconds"], "share_ratio": one["share"],
            }
        )  # fmt: skip
    for one in view["forecasts"] if view else ():
        forecasts += [
            {
                "horizon_seconds": one["horizon_seconds"], "level": level, "value": value,
                "age_seconds": one["age_seconds"],
            }
            for level, value in zip(one["levels"], one["values"], strict=True)
        ]  # fmt: skip
    notes = [{"text": text} for text in (kept["notes"] if kept else ())]
    return {
        "inputs": _frame(inputs, ("signal", "value", "grade", "age_seconds", "share_ratio")),
        "forecasts": _frame(forecasts, ("horizon_seconds", "level", "value", "age_seconds")),
        "notes": _frame(notes, ("text",)),
    }


_TEXTS = frozenset({"guard", "pool", "text", "kind", "name", "signal", "grade"})


def _frame(rows: list[dict[str, Any]], names: tuple[str, ...]) -> pl.DataFrame:
    schema = {name: pl.String if name in _TEXTS else pl.Float64 for name in names}
    return pl.DataFrame(rows, schema=schema, strict=False)
