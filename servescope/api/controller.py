"""The controller: how it stands, what it decided and why, and what people tell it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Query
from fastapi.responses import Response

from controller.refusals import Conflict, Who
from servescope.access.caller import recorded
from servescope.api import negotiate, problems
from servescope.api.access import READS, needs
from servescope.api.json_route import JsonRoute
from servescope.api.parameters import FormatDep, RuntimeDep, answers, only_known
from servescope.controlling import service
from servescope.controlling.service import state_document
from servescope.documents import plain
from servescope.runtime import Runtime
from store.queries import decisions as queries
from store.told import MOST_INT64

router = APIRouter(
    route_class=JsonRoute,
    tags=["controller"],
    dependencies=[Depends(only_known)],
    prefix="/controller",
)

_STATE = {
    "pool": "llama-70b", "mode": "dry-run", "mode_by": "ana", "is_frozen": False, "version": 7,
    "wanted": 8, "ready": 8, "starting": 0, "draining": 0, "desired": 10, "doubt": "",
}  # fmt: skip
_STATUS = {"running": True, "pools": [_STATE], "pending": [], "version": 7}
_REFUSED = {
    "refused": {
        "llama-70b": {
            "active": {
                "why": "llama-70b has decided for 0.3 h in dry-run; 24 h are asked for",
                "hint": "let it run in dry-run first, or override with the pool's name: llama-70b",
                "may_override": True,
            }
        }
    }
}
_DECISION = {
    "decision": {
        "decision_id": 1234, "pool": "llama-70b", "kind": "up", "before_replicas": 8,
        "proposed_replicas": 11, "final_replicas": 10, "binding": "most", "code": "forecast",
        "reason": "41.3 requests/s expected",
    },
    "inputs": [
        {"signal": "requests_waiting", "value": 23.0, "grade": "fresh", "age_seconds": 2.0,
         "share_ratio": 1.0},
    ],
    "flips": [{"signal": "forecast", "at": 36.0, "text": "would hold at forecast <= 36"}],
    "replays": True,
}  # fmt: skip
_DONE = {"decision_id": 1240, "pool": "llama-70b", "outcome": "applied"}

PoolsBody = Annotated[
    list[str] | None, Body(description="Names of pools; left out means all.", examples=[["a"]])
]
VersionBody = Annotated[
    int | None,
    Body(description="Version that was seen; when somebody was faster the answer is 409."),
]
CommentBody = Annotated[str, Body(description="Why; kept in the record.")]
ByBody = Annotated[str, Body(description="Who; kept in the record.")]
DecisionPath = Annotated[int, Path(description="Number of a decision.", ge=1, le=MOST_INT64)]


@router.get("/status", responses=answers(_STATUS), dependencies=[READS])
def get_status(runtime: RuntimeDep) -> Response:
    """Modes, freezes, targets, what waits for a person, what is open, counters."""
    return negotiate.document(plain(runtime.controlling.status()))


@router.get("/modes", responses=answers(_REFUSED), dependencies=[READS])
def get_modes(runtime: RuntimeDep) -> Response:
    """Modes that pools may not be set to now, with why and what to do; others may be set.

    `may_override`: the pool's name as `override` sets it all the same.
    """
    return negotiate.document({"refused": plain(service.refused_modes(runtime.controlling.orders))})


@router.get(
    "/desired",
    responses=answers({"pools": {"llama-70b": {"desired_replicas": 10}}}),
    dependencies=[READS],
)
def get_desired(runtime: RuntimeDep) -> Response:
    """Replicas that scalers which ask by HTTP should give each pool that may be acted upon.

    For KEDA's metrics-api: `valueLocation: pools.NAME.desired_replicas`.
    """
    asked = runtime.controlling.published()
    return negotiate.document(
        {"pools": {labels["pool"]: {"desired_replicas": count} for labels, count in asked}}
    )


@router.get(
    "/decisions",
    responses=answers({"columns": ["decision_id"], "rows": []}, tables=True),
    dependencies=[READS],
)
def get_decisions(
    runtime: RuntimeDep,
    form: FormatDep,
    pool: Annotated[str | None, Query(description="Names of pools, with commas.")] = None,
    limit: Annotated[int, Query(ge=1, le=service.MOST_LISTED, description="Most rows.")] = 100,
) -> Response:
    """Decisions, the newest first; those that say the same one after the other are one row."""
    names = [name for name in (pool or "").split(",") if name]
    frame = queries.listed(runtime.database.reader, names, most=limit)
    return negotiate.table(frame, form, name="decisions")


@router.get("/decisions/{decision_id}", responses=answers(_DECISION), dependencies=[READS])
def get_decision(runtime: RuntimeDep, decision_id: DecisionPath) -> Response:
    """One decision: inputs with age and grade, forecast, guards, what would flip it, outcome."""
    return negotiate.document(plain(runtime.controlling.decision(decision_id)))


@router.get(
    "/rollback/{decision_id}",
    responses=answers({"from_replicas": 10, "to_replicas": 8}),
    dependencies=[READS],
)
def get_rollback(runtime: RuntimeDep, decision_id: DecisionPath) -> Response:
    """What a rollback of a decision would do; nothing is done."""
    return negotiate.document(plain(runtime.controlling.running().rollback_of(decision_id)))


@router.get(
    "/verify", responses=answers({"checked": 500, "same": 500, "differs": 0}), dependencies=[READS]
)
def get_verify(
    runtime: RuntimeDep,
    last: Annotated[int, Query(ge=1, le=10_000, description="How many steps.")] = 100,
) -> Response:
    """Make the newest steps again and compare them with the record, to the byte."""
    return negotiate.document(plain(service.verify_document(runtime.database.reader, last)))


@router.post("/mode", responses=answers({"pools": [_STATE]}), dependencies=[needs("mode")])
async def post_mode(
    runtime: RuntimeDep,
    mode: Annotated[str, Body(description="off, dry-run, approve or active.")],
    pools: PoolsBody = None,
    expected_version: VersionBody = None,
    override: Annotated[
        str, Body(description="The pool's name, typed: act without rehearsal.")
    ] = "",
    by: ByBody = "api",
    comment: CommentBody = "",
) -> Response:
    """Set how pools are treated."""
    who = Who(recorded(by), "api", comment)
    orders = runtime.controlling.running()
    return await changed(runtime, orders.mode(pools or [], mode, who, expected_version, override))


@router.post("/freeze", responses=answers({"pools": [_STATE]}), dependencies=[needs("freeze")])
async def post_freeze(
    runtime: RuntimeDep,
    pools: PoolsBody = None,
    seconds: Annotated[
        float | None, Body(description="For how long; left out means until resumed.")
    ] = None,
    expected_version: VersionBody = None,
    by: ByBody = "api",
    comment: CommentBody = "",
) -> Response:
    """Hold pools as they are; decisions are still made and recorded."""
    orders = runtime.controlling.running()
    who = Who(recorded(by), "api", comment)
    return await changed(runtime, orders.freeze(pools or [], seconds, who, expected_version))


@router.post("/resume", responses=answers({"pools": [_STATE]}), dependencies=[needs("resume")])
async def post_resume(
    runtime: RuntimeDep,
    comment: CommentBody,
    pools: PoolsBody = None,
    expected_version: VersionBody = None,
    by: ByBody = "api",
) -> Response:
    """End freezes, and accept what others set; needs a comment."""
    orders = runtime.controlling.running()
    who = Who(recorded(by), "api", comment)
    return await changed(runtime, orders.resume(pools or [], who, expected_version))


@router.post(
    "/decisions/{decision_id}/approve", responses=answers(_DONE), dependencies=[needs("approve")]
)
async def post_approve(
    runtime: RuntimeDep,
    decision_id: DecisionPath,
    by: ByBody = "api",
    comment: CommentBody = "",
) -> Response:
    """Do a decision that waits; 409 with the newer one when it does not any more."""
    orders = runtime.controlling.running()
    return await done(runtime, orders.approve(decision_id, Who(recorded(by), "api", comment)))


@router.post(
    "/decisions/{decision_id}/reject", responses=answers(_DONE), dependencies=[needs("reject")]
)
async def post_reject(
    runtime: RuntimeDep,
    decision_id: DecisionPath,
    by: ByBody = "api",
    comment: CommentBody = "",
) -> Response:
    """Do not do a decision that waits."""
    orders = runtime.controlling.running()
    return await done(runtime, orders.reject(decision_id, Who(recorded(by), "api", comment)))


@router.post(
    "/decisions/{decision_id}/rollback", responses=answers(_DONE), dependencies=[needs("rollback")]
)
async def post_rollback(
    runtime: RuntimeDep,
    decision_id: DecisionPath,
    expected_version: VersionBody = None,
    by: ByBody = "api",
    comment: CommentBody = "",
) -> Response:
    """Return the pool to what it was before a decision, and freeze it for 15 minutes."""
    orders = runtime.controlling.running()
    who = Who(recorded(by), "api", comment)
    return await done(runtime, orders.rollback(decision_id, who, expected_version))


async def changed(runtime: Runtime, order: Any) -> Response:
    """How pools stand after an order, or how they stand since somebody was faster."""
    try:
        states = await runtime.controlling.told(order)
    except Conflict as error:
        return _conflict(error)
    at = runtime.clock.now().replace(tzinfo=None)
    return negotiate.document(plain({"pools": [state_document(one, at) for one in states]}))


async def done(runtime: Runtime, order: Any) -> Response:
    """What came of an order, or how it stands since somebody was faster."""
    try:
        told = await runtime.controlling.told(order)
    except Conflict as error:
        return _conflict(error)
    return negotiate.document(plain(told))


def _conflict(error: Conflict) -> Response:
    """409, with how it stands now."""
    return problems.problem(
        409, error.code, error.message, hint=error.hint, state=plain(error.state)
    )
