"""Candidates: policies that are asked beside the one that decides, compared with it, adopted."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Path, Query
from fastapi.responses import Response

from controller.refusals import Who
from servescope.access.caller import recorded
from servescope.api import negotiate
from servescope.api.access import READS, needs
from servescope.api.controller import ByBody, CommentBody, PoolsBody, VersionBody, changed, done
from servescope.api.json_route import JsonRoute
from servescope.api.parameters import RuntimeDep, answers, only_known
from servescope.documents import plain
from store.told import MOST_INT64

router = APIRouter(
    route_class=JsonRoute,
    tags=["controller"],
    dependencies=[Depends(only_known)],
    prefix="/controller",
)

_CANDIDATE = {
    "candidate_id": 3, "pool": "llama-70b", "pools": ["llama-70b"], "policy": "kubernetes-hpa",
    "parameters": {"target_ongoing": 8}, "policy_text": "kubernetes-hpa(target_ongoing=8)",
    "replay_id": "20260131-120000-0a1b2c", "is_validated": True, "state": "shadow", "text": None,
    "watched_since": "2026-01-31T12:00:05Z", "steps": 5760, "failures": 0,
    "differing_ratio": 0.34, "period_seconds": 15.0, "asked_every_seconds": 15.0,
    "is_watched": True, "version": 7,
}  # fmt: skip
_SIDE = {
    "replica_hours": 96.5, "gpu_hours": 386.0, "cost": None, "predicted_attainment_ratio": 0.994,
}  # fmt: skip
_BESIDE = {
    "candidate": _CANDIDATE, "live_policy": "risk", "seconds": 86400.0, "steps": 5760,
    "live": _SIDE, "shadow": _SIDE, "there": _SIDE, "differing_ratio": 0.34,
    "largest_difference_replicas": 3, "model": "a fluid model of the replicas …",
    "adopt_refused": {
        "why": "candidate 3 was watched for 4.2 h and llama-70b is active; 24 h are asked for",
        "hint": "let it be watched on, or override with the pool's name: llama-70b",
        "override": "llama-70b",
    },
}  # fmt: skip
CandidatePath = Annotated[int, Path(description="Number of a candidate.", ge=1, le=MOST_INT64)]


@router.get(
    "/candidates",
    responses=answers({"running": True, "candidates": [_CANDIDATE]}),
    dependencies=[READS],
)
def get_candidates(runtime: RuntimeDep) -> Response:
    """Candidates: those that are open or decide first; how each stands, and why."""
    return negotiate.document(plain(runtime.controlling.candidates.listed()))


@router.get("/candidates/{candidate_id}", responses=answers(_BESIDE), dependencies=[READS])
def get_candidate(
    runtime: RuntimeDep,
    candidate_id: CandidatePath,
    hours: Annotated[
        float | None, Query(gt=0, le=8760, description="Before now; left out: all its time.")
    ] = None,
) -> Response:
    """A candidate beside the policy that decides, over the same time: replicas, cost, attainment.

    Attainment is that of a model, both alike; what really came stands beside it. adopt_refused: why
    it may not be adopted now; null where it may, or is not watched.
    """
    return negotiate.document(plain(runtime.controlling.candidates.compared(candidate_id, hours)))


@router.post("/candidates", responses=answers(_CANDIDATE), dependencies=[needs("propose")])
async def post_candidate(
    runtime: RuntimeDep,
    pool: Annotated[str, Body(description="Name of a pool.")],
    policy: Annotated[str, Body(description="Name, or name(parameter=value).")],
    by: ByBody = "api",
    comment: CommentBody = "",
) -> Response:
    """Let a policy be watched beside the one that decides; 400 with the reason where it cannot be.

    A row of a replay is proposed by POST /replays/{replay_id}/candidate.
    """
    candidates, who = runtime.controlling.candidates, Who(recorded(by), "api", comment)
    order = candidates.orders().propose(pool, policy, who)
    return await done(runtime, candidates.chosen(order))


@router.post(
    "/candidates/{candidate_id}/withdraw",
    responses=answers(_CANDIDATE),
    dependencies=[needs("withdraw")],
)
async def post_withdraw(
    runtime: RuntimeDep,
    candidate_id: CandidatePath,
    expected_version: VersionBody = None,
    by: ByBody = "api",
    comment: CommentBody = "",
) -> Response:
    """Do not watch a candidate any more; what it would have done is kept."""
    candidates, who = runtime.controlling.candidates, Who(recorded(by), "api", comment)
    order = candidates.orders().withdraw(candidate_id, who, expected_version)
    return await done(runtime, candidates.chosen(order))


@router.post(
    "/candidates/{candidate_id}/adopt", responses=answers(_CANDIDATE), dependencies=[needs("adopt")]
)
async def post_adopt(
    runtime: RuntimeDep,
    candidate_id: CandidatePath,
    comment: CommentBody,
    expected_version: VersionBody = None,
    override: Annotated[
        str, Body(description="The pool's name, typed: act without having been watched long.")
    ] = "",
    by: ByBody = "api",
) -> Response:
    """Let a candidate decide its pools from the next step on, in their mode; needs a comment."""
    candidates, who = runtime.controlling.candidates, Who(recorded(by), "api", comment)
    order = candidates.orders().adopt(candidate_id, who, expected_version, override)
    return await done(runtime, candidates.chosen(order))


@router.post(
    "/restore-policy",
    responses=answers({"pools": [{"pool": "llama-70b"}]}),
    dependencies=[needs("restore")],
)
async def post_restore_policy(
    runtime: RuntimeDep,
    comment: CommentBody,
    pools: PoolsBody = None,
    expected_version: VersionBody = None,
    by: ByBody = "api",
) -> Response:
    """Let the policy that the configuration names decide again; needs a comment."""
    orders = runtime.controlling.candidates.orders()
    return await changed(
        runtime, orders.restore(pools or [], Who(recorded(by), "api", comment), expected_version)
    )
