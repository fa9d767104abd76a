"""The doors of gateways: their rows, how they stand, what they are to decide by."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from collector.agent.wire import BATCH_HEADER
from servescope.access.caller import recorded
from servescope.access.scopes import GATEWAY
from servescope.api import negotiate
from servescope.api.access import READS, needs, opens
from servescope.api.bodies import BodyRules, BodyUnsupported, media_type, read_body
from servescope.api.controller import ByBody, CommentBody
from servescope.api.json_route import JsonRoute
from servescope.api.parameters import RuntimeDep, answers, only_known
from servescope.changes import noted
from servescope.documents import plain
from servescope.gateway.desk import GatewayDesk, heartbeat_row
from servescope.gateway.intake import GatewayRows, check_name
from store import gateways
from store.errors import InputError
from store.queries import gateways as queries

router = APIRouter(route_class=JsonRoute, tags=["gateway"], dependencies=[Depends(only_known)])

_RULES = BodyRules(most_bytes=16 << 20)
_TYPE = "application/json"
_KEPT = {"rows": 64, "added": 64, "known": False, "rejected": 0, "reasons": {}}
_HEARTBEAT = {
    "identity": "5be0c7a1f3d2e694", "node": "gpu-3", "url": "http://10.0.0.3:8300",
    "version": "0.1.0", "started_at": 1769860800.0, "heartbeat_seconds": 2.0, "policy_version": 3,
    "waiting_rows": 0, "dropped_rows": 0, "details": {"waiting": 0, "running": 12},
    "has": {"policy": 3, "lengths": "a1b2"},
}  # fmt: skip
_TOLD = {
    "server_time": "2026-01-31T12:00:00+00:00", "policy_version": 3, "decision_id": 1240,
    "starting": [{"pool": "llama-70b", "ready_seconds": 42.0, "late_seconds": 65.5}],
    "lengths_version": "a1b2",
}  # fmt: skip
_DOCUMENT = {
    "line": {"name": "vtc-predicted"}, "way": "predicted-finish",
    "rules": ["has-replica", {"name": "queue-depth"}], "places": ["kv-limit"],
}  # fmt: skip
_POLICY = {
    "version": 3, "changed_at": "2026-01-31T12:00:00Z", "changed_by": "ana",
    "reason": "batch jobs starve chats", "policy": _DOCUMENT,
}  # fmt: skip
_GATEWAY = {
    "name": "edge", "node": "gpu-3", "url": "http://10.0.0.3:8300", "state": "ok", "why": None,
    "age_seconds": 1.2, "policy_version": 3, "waiting_rows": 0, "dropped_rows": 0,
}  # fmt: skip


@router.get("/gateways", responses=answers({"gateways": [_GATEWAY]}), dependencies=[READS])
def get_gateways(request: Request) -> Response:
    """Gateways with their age, what waits in their spools, and what is wrong with them."""
    desk: GatewayDesk = request.app.state.gateway_desk
    return negotiate.document(plain({"gateways": desk.standings()}))


@router.get("/gateway/policy", responses=answers(_POLICY), dependencies=[READS])
def get_policy(runtime: RuntimeDep) -> Response:
    """The policy in force; `policy` is null while each gateway goes by its own settings."""
    found = queries.policy(runtime.database.reader)
    if found is None:
        return negotiate.document({"version": None, "policy": None})
    return negotiate.document(plain({**found, "policy": json.loads(found["policy"])}))


@router.get(
    "/gateway/policy/history", responses=answers({"versions": [_POLICY]}), dependencies=[READS]
)
def get_policy_history(runtime: RuntimeDep) -> Response:
    """The newest hundred versions, newest first: who put what in force when, and why."""
    found = queries.policies(runtime.database.reader)
    versions = [{**one, "policy": json.loads(one["policy"])} for one in found]
    return negotiate.document(plain({"versions": versions}))


@router.put(
    "/gateway/policy", responses=answers({"version": 4}), dependencies=[needs("gateway-policy")]
)
async def put_policy(
    runtime: RuntimeDep,
    policy: Annotated[
        dict[str, Any],
        Body(embed=True, description="Lines, ways, rules, places.", examples=[_DOCUMENT]),
    ],
    comment: CommentBody = "",
    by: ByBody = "api",
) -> Response:
    """Let all gateways decide by this from now on; no request is dropped.

    Every name and parameter is tried before: a policy that cannot be is refused. The same policy
    again changes nothing.
    """
    from servescope.gateway.policy import check

    checked = await run_in_threadpool(check, policy)
    version = await asyncio.wrap_future(
        gateways.put_policy(
            runtime.database.writer, checked, recorded(by)[:100], comment[:1_000] or None,
            runtime.clock.now(),
        )
    )  # fmt: skip
    return negotiate.document({"version": version})


@router.post("/gateways/{name}/heartbeat", responses=answers(_TOLD), dependencies=[opens(GATEWAY)])
async def post_heartbeat(
    name: str,
    runtime: RuntimeDep,
    request: Request,
    heartbeat: Annotated[dict[str, Any], Body(examples=[_HEARTBEAT])],
) -> Response:
    """Note how a gateway stands; the answer is what it is to go by."""
    desk: GatewayDesk = request.app.state.gateway_desk
    row = heartbeat_row(name, heartbeat, runtime.clock.now())
    has = heartbeat.get("has")
    told = await run_in_threadpool(desk.told, has if isinstance(has, dict) else {})
    await asyncio.wrap_future(gateways.report(runtime.database.writer, row))
    return negotiate.document(told)


@router.delete(
    "/gateways/{name}", responses=answers({"name": "edge"}), dependencies=[needs("forget")]
)
async def delete_gateway(name: str, runtime: RuntimeDep) -> Response:
    """Leave out a gateway that is gone for good; its rows stay."""
    if not await asyncio.wrap_future(gateways.forget(runtime.database.writer, name)):
        raise InputError(f"there is no gateway '{name[:100]}'", hint="see /api/v1/gateways")
    await run_in_threadpool(noted, runtime.database, runtime.clock, "gateways.forget", name)
    return negotiate.document({"name": name})


@router.post(
    "/gateways/{name}/rows",
    responses=answers(_KEPT),
    openapi_extra={"requestBody": {"required": True, "content": {_TYPE: {}}}},
    dependencies=[opens(GATEWAY)],
)
async def post_rows(
    name: str,
    request: Request,
    batch_id: Annotated[
        str,
        Header(alias=BATCH_HEADER, description="Id of the batch; a known one adds nothing."),
    ] = "",
) -> Response:
    """Keep rows of requests that a gateway served or refused. The answer comes when they are safe.

    400, 413, 415 and 422 mean: never send this again. Anything else but 2xx: send it later.
    """
    check_name(name)
    intake: GatewayRows = request.app.state.gateway_rows
    if media_type(request) != _TYPE:
        raise BodyUnsupported(f"a batch has the type {_TYPE}")
    kept = await intake.take(name, batch_id, await read_body(request, _RULES))
    return negotiate.document(
        {
            "rows": kept.rows, "added": kept.added, "known": kept.known,
            "rejected": kept.rejected, "reasons": dict(kept.reasons),
        }
    )  # fmt: skip
