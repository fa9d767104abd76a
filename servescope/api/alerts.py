"""Alerts: what is wrong now, silences, rules, receivers; and alerts of others taken in."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Depends, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from analysis.alerts.matchers import matcher_of
from servescope.access.caller import recorded
from servescope.alerting import documents
from servescope.alerting.intake import events_of
from servescope.api import negotiate
from servescope.api.access import READS, SENDERS, needs
from servescope.api.bodies import BodyRules, BodyUnreadable, BodyUnsupported, media_type, read_body
from servescope.api.json_route import JsonRoute
from servescope.api.parameters import RuntimeDep, ScopeDep, answers, only_known
from servescope.changes import noted
from servescope.documents import plain, view_document
from servescope.runtime import Runtime
from store.errors import InputError, QueryRefused

INTAKE_PATH = "/alerts/in"
_RULES = BodyRules(most_bytes=4 << 20)
_DOOR = "alerts"

router = APIRouter(route_class=JsonRoute, tags=["alerts"], prefix="/alerts")
_KNOWN = [Depends(only_known)]

_ALERT = {
    "fingerprint": "3f1e2d4c5b6a7980", "rule": "outage", "severity": "page", "state": "firing",
    "summary": "132 of 132 requests (100 %) to llama fail, are refused or are given up over the"
    " last 2 min.", "since": "2026-01-31T12:00:05Z", "subject": "model llama", "value": 1.0,
    "why_quiet": None,
}  # fmt: skip
_VIEW = {
    "view": "alerts", "measures": {"firing": {"value": 1.0}},
    "frames": {"active": {"columns": ["fingerprint"], "row_count": 1, "total_count": 1,
                          "rows": [_ALERT]}},
}  # fmt: skip
_SILENCE = {
    "silence_id": "4a5a2f9e-5a0e-4c57-9a53-1f8a3b0f8b7e",
    "matchers": [{"name": "model", "value": "llama", "isRegex": False, "isEqual": True}],
    "startsAt": "2026-01-31T12:00:00Z", "endsAt": "2026-01-31T14:00:00Z",
    "createdBy": "ana", "comment": "new weights are rolled out",
}  # fmt: skip
_RULE = {
    "rule": "outage", "severity": "page", "is_on": True, "for_seconds": 0.0, "keep_seconds": 120.0,
    "meaning": "At least 90 % of the requests …", "runbook_url": "https://…/outage.md",
    "limits": {"bad_ratio": 0.9}, "failing": None,
}  # fmt: skip


@router.get("", responses=answers(_VIEW), dependencies=[*_KNOWN, READS])
def get_alerts(runtime: RuntimeDep, scope: ScopeDep) -> Response:
    """Alerts that are open, silences, and what happened in the range (view `alerts`)."""
    return negotiate.document(view_document(runtime.view("alerts", scope), runtime.catalog()))


@router.get("/rules", responses=answers({"rules": [_RULE]}), dependencies=[*_KNOWN, READS])
def get_rules(runtime: RuntimeDep) -> Response:
    """Every rule: what it means, its thresholds, whether it is on, and whether it can be asked."""
    return negotiate.document(plain({"rules": documents.rules(runtime.alerting)}))


@router.get("/receivers", responses=answers({"receivers": []}), dependencies=[*_KNOWN, READS])
def get_receivers(runtime: RuntimeDep) -> Response:
    """Who is told, how often, and what is wrong with them; addresses are not shown."""
    return negotiate.document(plain({"receivers": runtime.alerting.receivers()}))


@router.get("/one/{fingerprint}", responses=answers(_ALERT), dependencies=[*_KNOWN, READS])
def get_alert(
    runtime: RuntimeDep,
    fingerprint: Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="Of the alert.")],
) -> Response:
    """One alert: how it stands, its links, all its changes."""
    return negotiate.document(plain(documents.one(runtime, fingerprint)))


@router.post("/silences", responses=answers(_SILENCE), dependencies=[*_KNOWN, needs("silence")])
def post_silence(
    runtime: RuntimeDep,
    matchers: Annotated[
        list[dict[str, Any] | str],
        Body(description='All must fit: name, value, isRegex, isEqual; or text as `model="a"`.'),
    ],
    createdBy: Annotated[str, Body(description="Who; kept in the record.")],  # noqa: N803
    comment: Annotated[str, Body(description="Why; kept in the record.")],
    endsAt: Annotated[  # noqa: N803
        str | None, Body(description="ISO 8601; or leave it out and give `seconds`.")
    ] = None,
    startsAt: Annotated[  # noqa: N803
        str | None, Body(description="ISO 8601; left out means now.")
    ] = None,
    seconds: Annotated[
        float | None, Body(gt=0, description="How long, in place of endsAt.")
    ] = None,
) -> Response:
    """Let nobody be told of what matches, for a while; Alertmanager's five fields."""
    now = runtime.clock.now()
    starts = documents.time_of(startsAt, "startsAt") if startsAt else now
    if (endsAt is None) == (seconds is None):
        raise InputError("a silence needs endsAt or seconds, one of the two")
    ends = (
        documents.time_of(endsAt, "endsAt")
        if endsAt is not None
        else _after(starts, seconds or 0.0)
    )
    made = runtime.alerting.silence(
        [matcher_of(one) for one in matchers], starts, ends, recorded(createdBy), comment
    )
    return negotiate.document(plain(documents.silence(made)))


@router.post(
    "/silences/{silence_id}/end",
    responses=answers(_SILENCE),
    dependencies=[*_KNOWN, needs("unsilence")],
)
def post_unsilence(
    runtime: RuntimeDep,
    silence_id: Annotated[str, Path(description="Of the silence.")],
    by: Annotated[str, Body(embed=True, description="Who; kept in the record.")] = "api",
) -> Response:
    """End a silence now; it stays in the record."""
    return negotiate.document(
        plain(documents.silence(runtime.alerting.unsilence(silence_id, recorded(by))))
    )


@router.post(
    "/receivers/{name}/test",
    responses=answers({"ok": True}),
    dependencies=[*_KNOWN, needs("receiver-test")],
)
async def post_test(
    runtime: RuntimeDep, name: Annotated[str, Path(description="Of the receiver.")]
) -> Response:
    """Tell one receiver of an alert that says it is only a test."""
    found = plain(await runtime.alerting.test(name))
    await run_in_threadpool(noted, runtime.database, runtime.clock, "receivers.test", name, found)
    return negotiate.document(found)


@router.post("/in", responses=answers({"taken": 2, "new": 2}), dependencies=[SENDERS])
async def post_in(request: Request, runtime: RuntimeDep) -> Response:
    """Take in what an Alertmanager tells by its webhook; firing periods are drawn on charts."""
    if not runtime.config.alerts.accept:
        raise QueryRefused("alerts of others are not taken in here", hint="set alerts.accept")
    kind = media_type(request)
    if kind and kind != "application/json":
        raise BodyUnsupported(f"Content-Type '{kind}' is not taken here", hint="send JSON")
    return await _taken(runtime, await read_body(request, _RULES))


async def _taken(runtime: Runtime, body: bytes) -> Response:
    try:
        events = events_of(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        runtime.drops.add(_DOOR, "no JSON")
        raise BodyUnreadable(f"the body is no JSON: {error}") from None
    except InputError as error:
        runtime.drops.add(_DOOR, error.message[:100])
        raise
    new = await asyncio.wrap_future(runtime.database.writer.append("event", events))
    runtime.alerting.received["new"] += new
    runtime.alerting.received["again"] += events.height - new
    return negotiate.document({"taken": events.height, "new": new})


def _after(start: datetime, seconds: float) -> datetime:
    if seconds > 366 * 86_400:
        raise InputError("a silence of more than a year is refused", hint="switch the rule off")
    return start + timedelta(seconds=seconds)
