"""Comparisons of policies by replay: asked for, watched, ended, and what came of them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends
from fastapi.responses import Response

from servescope.access.caller import recorded
from servescope.api import negotiate
from servescope.api.access import READS, needs
from servescope.api.json_route import JsonRoute
from servescope.api.parameters import FormatDep, RuntimeDep, answers, only_known
from servescope.documents import plain
from servescope.replaying import answers as told
from store import audit
from store.errors import InputError

router = APIRouter(route_class=JsonRoute, tags=["replays"], dependencies=[Depends(only_known)])

_ID = "20260131-120000-0a1b2c"
_VALIDITY = {
    "is_validated": False,
    "text": "not validated: the profile llama-2-70b, 4 x h100 was never compared with rows",
    "mark": "not validated",
    "fit_error": None,
}
_RUN = {
    "replay_id": _ID, "state": "running", "text": None, "created_at": "2026-01-31T12:00:00Z",
    "created_by": "api", "seconds": None,
    "progress": {
        "share": 0.31, "done": 12, "expected": 40, "left_seconds": 61.0, "text": "risk, default",
        "waiting_before": 0,
    },
    "validity": _VALIDITY, "trace": "azure-2023-conv", "profile": "llama-2-70b, 4 x h100",
    "goal_ratio": 0.99, "asked": {"policies": ["risk", "ray-serve"], "startups": [60.0]},
}  # fmt: skip
_RESULT = {
    "case": "azure-2023-conv", "startup_seconds": 60.0, "policy": "risk", "row": "default",
    "title": "servescope, risk", "parameters": "{}", "seeds": 5, "failed": 0, "is_met": True,
    "gpu_hours": 11.2, "gpu_hours_low": 11.1, "gpu_hours_high": 11.3,
}  # fmt: skip
_ONE = {**_RUN, "state": "done", "seconds": 92.4, "results": [_RESULT], "sentences": [],
        "outcomes": [], "lanes": []}  # fmt: skip
_CANDIDATE = {
    "candidate_id": 1, "pool": "chat", "policy": "risk", "parameters": {}, "replay_id": _ID,
    "state": "proposed",
}  # fmt: skip
_FRAME = {"view": "replay", "frame": "results", "columns": ["policy"], "rows": [_RESULT]}
_BODY = {
    "source": "azure-2023-conv", "policies": ["risk", "kubernetes-hpa"], "startups": [0, 60, 300],
    "seeds": 5, "scale": 4, "tune": 20, "objective": "ttft=2,tpot=0.1,attainment=0.99",
}  # fmt: skip


@router.post(
    "/replays",
    status_code=202,
    responses={202: answers(_RUN)[200], **answers(_RUN)},
    dependencies=[needs("replay")],
)
def post_replay(
    runtime: RuntimeDep,
    about: Annotated[
        dict[str, Any],
        Body(
            description="source, from, to, model, tenant, route, instance: what is replayed; and"
            " policies, startups, seeds, scale, profile, objective, tune, curve, least, most,"
            " initial, gpus, history, patience, run_limit, fleet, pools, most_per_hour, guards,"
            " forecasts, as docs/replay.md has them.",
            examples=[_BODY],
        ),
    ],
) -> Response:
    """Queue a comparison; it runs in processes of its own. GET it for progress and results."""
    by = recorded("api")
    made = told.submit(runtime, about, by)
    note = audit.Change(by, "replays.submit", made["replay_id"], None, dict(about), "api")
    audit.note(runtime.database.writer, runtime.clock.now(), note).result()
    response = negotiate.document(plain(made))
    response.status_code = 202
    return response


@router.get("/replays", responses=answers({"replays": [_RUN]}), dependencies=[READS])
def get_replays(runtime: RuntimeDep) -> Response:
    """Comparisons, newest first: how they stand, and how wrong the model is."""
    return negotiate.document(plain(told.listed(runtime)))


@router.get("/replays/{replay_id}", responses=answers(_ONE), dependencies=[READS])
def get_replay(runtime: RuntimeDep, replay_id: str) -> Response:
    """One comparison: progress, validity, and per policy medians with ranges over seeds."""
    return negotiate.document(plain(told.document(runtime, replay_id)))


@router.delete(
    "/replays/{replay_id}",
    responses=answers({"replay_id": _ID, "state": "cancelled"}),
    dependencies=[needs("cancel")],
)
def delete_replay(runtime: RuntimeDep, replay_id: str) -> Response:
    """End a comparison that waits or runs; what is done by then is kept, and so is its id."""
    state = runtime.replaying.cancel(replay_id)
    note = audit.Change(recorded("api"), "replays.cancel", replay_id, None, {"state": state}, "api")
    audit.note(runtime.database.writer, runtime.clock.now(), note).result()
    return negotiate.document({"replay_id": replay_id, "state": state})


@router.get(
    "/replays/{replay_id}/{frame}", responses=answers(_FRAME, tables=True), dependencies=[READS]
)
def get_replay_frame(runtime: RuntimeDep, form: FormatDep, replay_id: str, frame: str) -> Response:
    """One table of a comparison: validity, results, frontier, outcomes, lanes or decisions."""
    view = runtime.view("replay", {}, {"replay": replay_id})
    if frame not in view.frames:
        raise InputError(
            f"a replay has no table '{frame}'", hint=f"its tables: {', '.join(view.frames)}"
        )
    validated = view.measures["is_validated"]
    about = {
        "view": view.name,
        "frame": frame,
        "replay_id": replay_id,
        "mark": None if validated.value else "not validated",
        "computed_at": view.computed_at,
    }
    return negotiate.table(view.frames[frame], form, name=f"replay-{frame}", about=about)


@router.post(
    "/replays/{replay_id}/candidate", responses=answers(_CANDIDATE), dependencies=[needs("propose")]
)
def post_candidate(
    runtime: RuntimeDep,
    replay_id: str,
    about: Annotated[
        dict[str, Any],
        Body(
            description="policy; row: default, tuned or hindsight; pool; startup_seconds.",
            examples=[{"policy": "risk", "row": "default", "pool": "chat"}],
        ),
    ],
) -> Response:
    """Record a row as a candidate that the controller watches in dry-run: it acts on nothing."""
    by = recorded("api")
    made = told.propose(runtime, replay_id, about, by)
    subject = str(made["candidate_id"])
    note = audit.Change(by, "replays.propose", subject, None, made, "api")
    audit.note(runtime.database.writer, runtime.clock.now(), note).result()
    return negotiate.document(plain(made))
