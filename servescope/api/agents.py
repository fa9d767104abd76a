"""The door for agents: their batches, their heartbeats, and how they stand."""

from __future__ import annotations

import asyncio
from typing import Annotated

import orjson
from fastapi import APIRouter, Body, Depends, Header, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from analysis.agents import agent_table
from collector.agent.wire import AGENT_HEADER, BATCH_HEADER
from servescope import agents
from servescope.agent_intake import AgentIntake
from servescope.api import negotiate
from servescope.api.access import READS, SENDERS, needs
from servescope.api.bodies import BodyRules, BodyUnsupported, media_type, read_body
from servescope.api.json_route import JsonRoute
from servescope.api.parameters import FormatDep, RuntimeDep, answers, only_known
from servescope.changes import noted
from store import agents as agent_store
from store.errors import InputError
from store.queries import agents as agent_queries

router = APIRouter(route_class=JsonRoute, tags=["agents"], dependencies=[Depends(only_known)])

_RULES = BodyRules(most_bytes=64 << 20)
_TYPE = "application/vnd.servescope.batch+json"
_AGENTS = {
    "columns": ["name", "node", "state", "why", "waiting_rows", "dropped_rows"],
    "rows": [
        {
            "name": "gpu-3", "node": "gpu-3", "state": "ok", "why": None,
            "waiting_rows": 0, "dropped_rows": 0,
        }
    ],
}  # fmt: skip
_HEARTBEAT = {
    "identity": "5be0c7a1f3d2e694", "node": "gpu-3", "version": "0.1.0",
    "started_at": 1769860800.0, "heartbeat_seconds": 10.0,
    "clock": {"offset_seconds": 0.002, "error_seconds": 0.001},
    "spool": {"records": 0, "rows": 0, "bytes": 0, "oldest_at": None},
    "dropped_rows": 0, "details": {"targets": 10, "targets_failing": 0},
}  # fmt: skip


@router.get("/agents", responses=answers(_AGENTS, tables=True), dependencies=[READS])
def get_agents(runtime: RuntimeDep, form: FormatDep) -> Response:
    """Agents with what waits in their spools, what they dropped, and what is wrong with them."""
    rows = agent_queries.agents(runtime.database.reader)
    return negotiate.table(agent_table(rows, runtime.clock.now()), form, name="agents")


@router.post(
    "/agents/{name}/batches",
    responses=answers({"rows_added": 412, "batches": 2, "known": 0}),
    openapi_extra={"requestBody": {"required": True, "content": {_TYPE: {}}}},
    dependencies=[SENDERS],
)
async def post_batches(
    name: str,
    request: Request,
    batch_ids: Annotated[
        str,
        Header(
            alias=BATCH_HEADER,
            description="Ids of the batches, in their order, with commas; known ones add nothing.",
        ),
    ] = "",
    sender: Annotated[
        str,
        Header(
            alias=AGENT_HEADER,
            description="A mark of the sending process and the seconds it has run, with a space.",
        ),
    ] = "",
) -> Response:
    """Keep batches of scrapes, a line each. The answer comes when they are durable.

    400, 413, 415 and 422 mean: never send this again. Anything else but 2xx: send it later.
    409: another agent is at work under this name; the two must be told apart.
    """
    agents.check_name(name)
    intake: AgentIntake = request.app.state.agent_intake
    intake.owners.check(name, sender)
    if media_type(request) != _TYPE:
        raise BodyUnsupported(f"a batch has the type {_TYPE}")
    body = await read_body(request, _RULES)
    kept = await intake.take(name, batch_ids, body)
    return negotiate.document(
        {
            "rows_added": kept.rows_added,
            "batches": batch_ids.count(",") + 1,
            "known": len(kept.known),
        }
    )


@router.post(
    "/agents/{name}/heartbeat",
    responses=answers({"server_time": "2026-01-31T12:00:00.000000Z"}),
    dependencies=[SENDERS],
)
async def post_heartbeat(
    name: str,
    runtime: RuntimeDep,
    heartbeat: Annotated[dict[str, object], Body(examples=[_HEARTBEAT])],
) -> Response:
    """Note how an agent stands; the answer holds the server's clock."""
    now = runtime.clock.now()
    row = agents.heartbeat_row(agents.check_name(name), heartbeat, now)
    await asyncio.wrap_future(agent_store.report(runtime.database.writer, row))
    answer = orjson.dumps({"server_time": now.isoformat()})
    return Response(answer, media_type=negotiate.MEDIA_TYPES["json"])


@router.delete(
    "/agents/{name}", responses=answers({"name": "gpu-3"}), dependencies=[needs("forget")]
)
async def delete_agent(name: str, runtime: RuntimeDep) -> Response:
    """Leave out an agent that is gone for good; what it sent stays."""
    was_there = await asyncio.wrap_future(agent_store.forget(runtime.database.writer, name))
    if not was_there:
        raise InputError(f"there is no agent '{name[:100]}'", hint="see /api/v1/agents")
    await run_in_threadpool(noted, runtime.database, runtime.clock, "agents.forget", name)
    return negotiate.document({"name": name})
