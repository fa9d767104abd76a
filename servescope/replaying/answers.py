"""Comparisons as the API tells them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analysis import replay_frames
from controller.comparison.naming import OURS, STATIC, fixed_of, parsed
from servescope.replaying.rows import plain_rows
from store import replays
from store.errors import InputError
from store.queries import replays as queries

if TYPE_CHECKING:
    from servescope.runtime import Runtime

MOST_LANES = 20_000
"""Of one answer; the table `lanes` has those of two rows."""
_SCOPE = ("source", "from", "to", "model", "tenant", "route", "instance")


def submit(runtime: Runtime, body: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Check what is asked and queue it.

    Args:
        runtime: the server's state.
        body: a scope and the parameters of `Asked`.
        by: who asks.

    Raises:
        InputError: an unknown parameter, or one out of range.
        ControllerError: parameters that contradict each other, or too many wait.
    """
    # The simulator is loaded by whoever needs it.
    from servescope.replaying import results, traces
    from servescope.replaying.asked import Asked
    from servescope.replaying.fleet import live

    about = {name: str(body[name]) for name in _SCOPE if body.get(name)}
    asked = Asked.of({name: value for name, value in body.items() if name not in _SCOPE})
    if asked.pools:
        settings, slos = runtime.config.controller, runtime.slos.definitions()
        asked = asked.of_pools(live(asked.pools, settings, slos))
    scope = runtime.scope(about, shared=False)
    found = traces.of_scope(runtime.database.reader, scope, about.get("source", ""))
    names = [s.name for s in runtime.catalog() if s.source_id in scope.source_ids]
    trace = about.get("source") or ", ".join(names)
    at = runtime.clock.now()
    what = results.planned(trace, found, asked, at, by, may_import=False)
    replay_id = runtime.replaying.submit(what)
    return {"replay_id": replay_id, "validity": what.row.validity, "requests": len(what.workload)}


def listed(runtime: Runtime) -> dict[str, Any]:
    """All of them, newest first, without what came of them."""
    rows = queries.listed(runtime.database.reader).to_dicts()
    return {"replays": [_run(runtime, row) for row in rows]}


def document(runtime: Runtime, replay_id: str) -> dict[str, Any]:
    """One of them with everything that came of it.

    Raises:
        InputError: there is none.
    """
    found = queries.listed(runtime.database.reader, replay_id)
    if found.is_empty():
        raise queries.missing(runtime.database.reader, replay_id)
    row = found.row(0, named=True)
    reader = runtime.database.reader
    outcomes = queries.outcomes(reader, replay_id)
    told = _run(runtime, row)
    by_cost = bool((told["fleet"] or {}).get("ranks_by_cost"))
    summary = replay_frames.summary(outcomes, row["goal_ratio"], by_cost=by_cost)
    return {
        **told,
        "window": replay_frames.window(outcomes).to_dicts(),
        "results": plain_rows(summary),
        "sentences": replay_frames.verdict(summary, row["goal_ratio"], by_cost=by_cost),
        "outcomes": plain_rows(outcomes),
        "lanes": queries.lanes(reader, replay_id, MOST_LANES).to_dicts(),
        "lanes_left_out": max(queries.lane_count(reader, replay_id) - MOST_LANES, 0),
    }


def propose(runtime: Runtime, replay_id: str, body: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Record one row of a comparison as a candidate for dry-run: watched, never acted on.

    Args:
        runtime: the server's state.
        replay_id: the comparison.
        body: policy, row ("default", "tuned", "hindsight"), pool, startup_seconds.
        by: who asks.

    Raises:
        InputError: no such row.
    """
    pool = str(body.get("pool") or "").strip()
    if not pool:
        raise InputError("a candidate is for a pool", hint='give "pool": its name')
    outcomes = queries.outcomes(runtime.database.reader, replay_id)
    policy, row = str(body.get("policy", "")), str(body.get("row", "default"))
    startup = body.get("startup_seconds")
    found = [
        one
        for one in outcomes.to_dicts()
        if (one["policy"], one["row"]) == (policy, row)
        and (startup is None or one["startup_seconds"] == float(startup))
    ]
    if not found or row not in ("default", "tuned", "hindsight") or ":" in policy:
        kept = outcomes.select("policy", "row").unique(maintain_order=True).rows()
        raise InputError(
            f"replay '{replay_id}' has no row {policy}/{row} that a controller could run",
            hint=f"it has: {', '.join('/'.join(one) for one in kept) or 'nothing'}",
        )
    settings = {one["parameters"] for one in found}
    if len(settings) > 1:
        raise InputError(
            f"{policy}/{row} has other settings for each start-up time", hint="give startup_seconds"
        )
    name, parameters = _as_replayed(runtime, replay_id, policy, settings.pop())
    candidate = replays.Candidate(pool, name, parameters, replay_id, by)
    number = replays.propose(runtime.database.writer, runtime.clock.now(), candidate).result()
    return {
        "candidate_id": number,
        "pool": candidate.pool,
        "policy": name,
        "parameters": candidate.parameters,
        "replay_id": replay_id,
        "state": "proposed",
    }


def _as_replayed(
    runtime: Runtime, replay_id: str, policy: str, settings: str
) -> tuple[str, dict[str, Any]]:
    """Name and parameters that make the same policy live."""
    from controller.comparison.building import STREAM

    name, given = parsed(policy)
    parameters = {**given, **json.loads(settings)}
    told = queries.listed(runtime.database.reader, replay_id)["fleet"].to_list()
    pools = json.loads(told[0])["pools"] if told and told[0] else []
    if name == STATIC:
        parameters = fixed_of(parameters)
    if name == OURS and sum(pool["role"] == "whole" for pool in pools) > 1:
        # In a fleet it is told that the pools serve one stream; live nobody else says so.
        parameters = {"together": STREAM, **parameters}
    return name, parameters


def _run(runtime: Runtime, row: Mapping[str, Any]) -> dict[str, Any]:
    asked = json.loads(row["asked"])
    error = json.loads(row["fit_error"]) if row["fit_error"] else None
    return {
        "replay_id": row["replay_id"],
        "state": row["state"],
        "text": row["text"],
        "created_at": row["created_at"],
        "created_by": row["created_by"],
        "seconds": row["seconds"],
        "progress": runtime.replaying.progress(row["replay_id"])
        or {"share": 0.0 if row["state"] == "queued" else 1.0, "left_seconds": None},
        "validity": {
            "is_validated": row["is_validated"],
            "text": row["validity"],
            "mark": None if row["is_validated"] else "not validated",
            "fit_error": error,
        },
        "trace": row["trace"],
        "profile": row["profile"],
        "goal_ratio": row["goal_ratio"],
        "asked": asked,
        "fleet": json.loads(row["fleet"]) if row["fleet"] else None,
    }
