"""How gateways stand: heard of or not, what is wrong with them, and whether they keep tenants even.

What a gateway tells of itself comes from outside: what is no number counts as unknown.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from analysis.measure import Measure, View
from store.queries import gateways as queries
from store.queries.scope import Scope
from store.queries.token_cost import Cost
from store.reader import Reader
from store.units import seconds_text

LATE_HEARTBEATS = 3.0
"""A gateway is late when it was not heard of for so many of its heartbeats."""
ALARM_SECONDS = 3600.0
"""A breach is an alarm for so long after it is over."""
UNFAIR = "tenants that wait are farther apart than its line promises"
SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("name", "state", "why", "url", "version"), pl.String),
    "age_seconds": pl.Float64,
    "started_at": pl.Datetime("us"),
    **dict.fromkeys(("policy_version", "waiting_rows", "dropped_rows"), pl.Int64),
    **dict.fromkeys(("waiting", "running"), pl.Int64),
    "line": pl.String,
    **dict.fromkeys(("apart_service", "greatest_gap_service", "bound_service"), pl.Float64),
    "why_no_bound": pl.String,
    "breaches": pl.Int64,
    "is_broken": pl.Boolean,
    "broken_seconds_ago": pl.Float64,
}


def gateways(reader: Reader, scope: Scope, *, now: datetime) -> View:
    """Every gateway that has reported, as it stood last.

    The time range of the scope plays no part. Measures: gateways, broken_now (those whose bound is
    broken, as they said last), breaches. Frame `gateways`: columns of SCHEMA. Sentences: alarms.

    Args:
        reader: the store.
        scope: only named in the result.
        now: the moment that ages are measured from; aware.
    """
    policy = queries.policy(reader)
    version = policy["version"] if policy else None
    return view_of(queries.gateways(reader), scope, now, version)


def view_of(
    rows: Sequence[Mapping[str, Any]], scope: Scope, now: datetime, version: int | None
) -> View:
    """The view of rows of table `gateway`; see `standing`."""
    told = [_row(standing(row, now, version)) for row in rows]
    frame = pl.DataFrame(told, schema=SCHEMA, orient="row")
    measures = {
        "gateways": Measure(frame.height, ""),
        "broken_now": Measure(float(frame["is_broken"].sum()), ""),
        "breaches": Measure(float(frame["breaches"].sum()), ""),
    }
    return View("gateways", scope, measures, {"gateways": frame}, tuple(alarms(frame)))


def standing(row: Mapping[str, Any], now: datetime, version: int | None) -> dict[str, Any]:
    """A row of table `gateway` with its details read, its age, its state, and why.

    Args:
        row: `details` is JSON text.
        now: aware.
        version: of the policy in force; None where there is none.
    """
    age = (now - row["last_seen_at"].replace(tzinfo=UTC)).total_seconds()
    details = json.loads(row["details"])
    details = details if isinstance(details, dict) else {}
    state, why = "ok", None
    if age > LATE_HEARTBEATS * row["heartbeat_seconds"]:
        state, why = "late", f"not heard of for {age:,.0f} s"
    elif row["policy_version"] != version:
        state, why = "behind", "it decides by another version of the policy"
    elif _fairness(details).get("is_broken") is True:
        state, why = "unfair", UNFAIR
    if details.get("problem"):
        state, why = "ill", str(details["problem"])[:300]
    elif details.get("draining"):
        state, why = "draining", "it takes no more requests"
    return {**row, "details": details, "age_seconds": round(age, 1), "state": state, "why": why}


def alarms(frame: pl.DataFrame) -> Iterator[str]:
    """A sentence for each gateway whose bound is broken, or was lately; those broken now first.

    Args:
        frame: columns of SCHEMA.
    """
    for row in frame.sort("is_broken", "name", descending=[True, False]).iter_rows(named=True):
        ago = row["broken_seconds_ago"]
        if row["is_broken"]:
            yield _broken(row) + _heard(row)
        elif row["breaches"] and ago is not None and ago <= ALARM_SECONDS:
            yield (
                f"Gateway {row['name']} broke its fairness bound {_times(row['breaches'])} since it"
                f" started, last {seconds_text(ago)} ago, and kept it since." + _heard(row)
            )


def live_bound(
    rows: Sequence[Mapping[str, Any]], scope: Scope, cost: Cost
) -> tuple[float, str] | None:
    """The bound that gateways told which served in a scope, and whose it is.

    Each has a line of its own, so the bounds of several add up. None where none of them served
    then, one has no bound, or one counts service by other weights.

    Args:
        rows: of table `gateway`.
        scope: range.
        cost: service of a token.
    """
    start, end = scope.start.replace(tzinfo=None), scope.end.replace(tzinfo=None)
    served = [row for row in rows if row["last_seen_at"] >= start and row["started_at"] <= end]
    told = [_fairness(json.loads(row["details"])) for row in served]
    bounds = [_bound(one, cost) for one in told]
    if not bounds or None in bounds:
        return None
    whose = (
        f"the line {told[0].get('line')} of gateway {served[0]['name']}"
        if len(served) == 1
        else f"fair queueing in {len(served)} gateways"
    )
    return sum(bound for bound in bounds if bound is not None), whose


def _bound(told: Mapping[str, Any], cost: Cost) -> float | None:
    weights = [_number(told.get(f"{name}_weight")) for name in ("input", "output", "cached")]
    if weights != [cost.input_weight, cost.output_weight, cost.cached_weight]:
        return None
    return _number(told.get("bound_service"))


def _row(stands: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the table."""
    details, told = stands["details"], _fairness(stands["details"])
    ago = _number(told.get("broken_seconds_ago"))
    line, why = told.get("line"), told.get("why_no_bound")
    return {
        **{name: stands[name] for name in SCHEMA if name in stands},
        **{name: _whole(details.get(name)) for name in ("waiting", "running")},
        **{name: _number(told.get(name)) for name in SCHEMA if name.endswith("_service")},
        "line": line if isinstance(line, str) else None,
        "why_no_bound": why if isinstance(why, str) else None,
        "breaches": _whole(told.get("breaches")),
        "is_broken": told.get("is_broken") is True,
        "broken_seconds_ago": None if ago is None else ago + stands["age_seconds"],
    }


def _broken(row: Mapping[str, Any]) -> str:
    apart, bound = row["apart_service"], row["bound_service"]
    how_far = "farther apart" if apart is None else f"{apart:,.0f} apart"
    promise = "than its line promised" if apart is None else "more than its line promised"
    if apart is not None and bound is not None and apart > bound:
        promise = f"where its line {row['line']} promises {bound:,.0f} at most"
    return (
        f"Gateway {row['name']} breaks its fairness bound: two tenants that wait are {how_far} in"
        f" service, {promise} (broken {_times(row['breaches'] or 1)} since it started)."
    )


def _heard(row: Mapping[str, Any]) -> str:
    age = seconds_text(row["age_seconds"])
    if row["state"] == "late":
        return f" That is its last word, of {age} ago: it was not heard of since."
    return f" Heard {age} ago."


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _fairness(details: Any) -> Mapping[str, Any]:
    told = details.get("fairness") if isinstance(details, dict) else None
    return told if isinstance(told, dict) else {}


def _number(told: Any) -> float | None:
    is_number = isinstance(told, int | float) and not isinstance(told, bool)
    return float(told) if is_number and math.isfinite(told) else None


def _whole(told: Any) -> int | None:
    number = _number(told)
    return None if number is None or abs(number) > 1e15 else int(number)
