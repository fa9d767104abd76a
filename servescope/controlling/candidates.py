"""Candidates as API, command line and pages are told of them: how each stands, and beside what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from controller.refusals import Missing
from store.clock import Clock
from store.errors import StoreError
from store.queries import candidates as queries
from store.queries import decisions
from store.reader import Reader

if TYPE_CHECKING:
    from controller.loop import Loop
    from controller.outcomes import Realised

MOST_LISTED = 200
MOST_ROWS = 100_000
MOST_LATEST = 50


def candidates_document(reader: Reader, loop: Loop | None) -> dict[str, Any]:
    """All candidates: those that are open or decide first, then the newest.

    Returns:
        running; candidates, each: candidate_id, pool, pools (decided together with it; of a
        running controller), policy, parameters, policy_text ("risk(level=0.9)"), replay_id,
        is_validated and validity (of its replay), created_at, created_by, state (proposed,
        shadow, refused, withdrawn, adopted, ended), text (why, one line), changed_at, changed_by,
        watched_since, steps, failures (steps without an answer), last_failure, last_at,
        differing_ratio (0 to 1, of the steps), period_seconds (its own) and asked_every_seconds
        (as the pool is decided; both of a running controller), is_watched (asked right now),
        version (of its pools: what `expected_version` has to be).
    """
    rows = queries.listed(reader, most=MOST_LISTED).to_dicts()
    return {
        "running": loop is not None,
        "candidates": [candidate_told(row, loop) for row in rows],
    }


def candidate_document(reader: Reader, loop: Loop | None, candidate_id: int) -> dict[str, Any]:
    """One candidate.

    Raises:
        Missing: there is none.
    """
    rows = queries.listed(reader, candidate_id).to_dicts()
    if not rows:
        raise Missing(
            f"there is no candidate {candidate_id}",
            hint="`servescope controller candidates` has them",
        )
    return candidate_told(rows[0], loop)


def compare_document(
    reader: Reader,
    clock: Clock,
    loop: Loop | None,
    candidate_id: int,
    hours: float | None = None,
    realised: Realised | None = None,
) -> dict[str, Any]:
    """A candidate beside the policy that decides, over the same time.

    Args:
        reader: the store.
        clock: the time.
        loop: a running one, for which pools there are.
        candidate_id: which.
        hours: before now; None is as long as it was watched.
        realised: knows what really came; None leaves that out.

    Returns:
        candidate (as in `candidates_document`); live_policy; text (a sentence); empty (why there
        is nothing to compare; then nothing of the following); start_at, end_at; seconds; steps;
        live, shadow, there (what the platform was told): replica_hours, gpu_hours, cost (currency
        of the profile), predicted_attainment_ratio (0 to 1, a model: see `model`); pools (the same
        of each, with pool, why an expectation is unknown, observed_attainment_ratio: what
        really came, under the policy that decided); differing_ratio (share of the steps);
        largest_difference_replicas (shadow less live), largest_difference_at; model; course
        (pool, at, shadow_replicas, live_replicas, there_replicas, requests_per_second; at most 300
        points a pool); latest (the newest steps: at, pool, kind, proposed_replicas,
        shadow_replicas, live_replicas, binding, code, reason).

    Raises:
        Missing: there is none.
    """
    from controller import beside, codec

    candidate = candidate_document(reader, loop, candidate_id)
    until = clock.now().replace(tzinfo=None)
    since = None if hours is None else until - timedelta(hours=hours)
    rows = queries.course(reader, candidate_id, since, None, MOST_ROWS)
    if rows.is_empty():
        text = "it was not asked in that time" if candidate["steps"] else "it was not asked yet"
        return {"candidate": candidate, "text": text, "empty": text}
    newest = rows.sort("at").row(-1, named=True)
    record = decisions.record(reader, newest["observation_id"])
    views, objective = _views(record, codec)
    told = beside.compared(rows, views, objective, _prices(loop, views))
    live = _live_policy(reader, newest["observation_id"])
    for pool in told["pools"]:
        pool["observed_attainment_ratio"] = _came(loop, realised, pool["pool"], told)
    return {
        "candidate": candidate,
        "live_policy": live,
        "text": beside.sentence(told, live, candidate["policy_text"]),
        "empty": "",
        **told,
        "latest": _latest(rows),
    }


def _views(record: Mapping[str, Any] | None, codec: Any) -> tuple[dict[str, Any], Any]:
    """The pools as they were last seen; nothing where that step was deleted."""
    from controller.observation import Objective

    if record is None:
        return {}, Objective()
    observation = codec.given_of(record["content"]).observation
    return {view.name: view for view in observation.pools}, observation.objective


def _prices(loop: Loop | None, views: Mapping[str, Any]) -> dict[str, Any]:
    """As the settings of a running controller have them."""
    from controller.beside import Price

    if loop is None:
        return {}
    pools = (pool for fleet in loop.fleets for pool in fleet.pools if pool.name in views)
    return {
        pool.name: Price(
            pool.gpus if pool.profile or pool.settings.gpus else None, pool.price_per_hour
        )
        for pool in pools
    }


def _live_policy(reader: Reader, observation_id: int) -> str:
    """What decided at that step."""
    found = decisions.decided_by(reader, observation_id)
    if found is None:
        return "unknown"
    return _said(*found)


def _said(policy: str, parameters: str) -> str:
    from controller.modes import said

    return said(policy, parameters)


def _came(
    loop: Loop | None, realised: Realised | None, pool: str, told: Mapping[str, Any]
) -> float | None:
    """Share of the requests of a pool that were good; None without a running controller."""
    if loop is None or realised is None or pool not in loop.book.states:
        return None
    mine = next(one for one in loop.fleet_of(pool).pools if one.name == pool)
    start, end = told["start_at"], told["end_at"]
    assert isinstance(start, datetime)  # noqa: S101 - rows have times
    try:
        return realised.realised(mine, start, end)[1]
    except StoreError:  # over a long time it may take too long; the rest is known
        return None


def _latest(rows: Any) -> list[dict[str, Any]]:
    names = ("at", "pool", "kind", "proposed_replicas", "shadow_replicas", "live_replicas",
             "binding", "code", "reason")  # fmt: skip
    asked = rows.drop_nulls("step_id").sort("at", descending=True).head(MOST_LATEST)
    found: list[dict[str, Any]] = asked.select(names).to_dicts()
    return found


def candidate_told(row: Mapping[str, Any], loop: Loop | None) -> dict[str, Any]:
    """A row of `store.queries.candidates.listed` as people are told of it."""
    made = {
        **row,
        "parameters": json.loads(row["parameters"]),
        "policy_text": _said(row["policy"], row["parameters"]),
        "pools": [row["pool"]],
        "period_seconds": None,
        "asked_every_seconds": None,
        "is_watched": False,
        "version": None,
    }
    if loop is None or row["pool"] not in loop.book.states:
        return made
    fleet = loop.fleet_of(row["pool"])
    names = [pool.name for pool in fleet.pools]
    made |= {"pools": names, "version": max(loop.book.states[name].version for name in names)}
    shadow = loop.shadows.watched.get(row["candidate_id"]) if loop.shadows else None
    if shadow is not None:
        period, pace = shadow.policy.spec.period_seconds, fleet.policy.spec.period_seconds
        made |= {
            "is_watched": True,
            "period_seconds": period,
            "asked_every_seconds": max(round(period / pace), 1) * pace,
        }
    return made
