"""The door for what others saw of starts: a log reader, a start hook, a script."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from servescope.api import negotiate
from servescope.api.access import SENDERS
from servescope.api.json_route import JsonRoute
from servescope.api.parameters import RuntimeDep, answers, only_known
from servescope.starts import add_observations, observation_of
from store.errors import InputError
from store.told import moment

router = APIRouter(
    route_class=JsonRoute, tags=["operations"], dependencies=[Depends(only_known), SENDERS]
)

MOST_OBSERVATIONS = 10_000
_EXAMPLE = {"rows_added": 2, "rows_known": 0}
_ROW = {
    "instance": "gpu-3:8000",
    "phase": "weights",
    "started_at": "2026-01-31T12:00:10Z",
    "ended_at": "2026-01-31T12:01:02Z",
    "evidence": "log of vllm: Loading weights took 52 seconds",
    "model": "llama-3.3-70b",
    "node": "h100-7",
    "cache_state": "cold",
}


@router.post("/starts", responses=answers(_EXAMPLE))
async def post_starts(
    runtime: RuntimeDep,
    observations: Annotated[
        list[dict[str, Any]],
        Body(
            embed=True,
            description="Phases of starts as one witness saw them. Phases: schedule, init, image,"
            " container, process, engine, weights, compile, kv_cache, probe; marks: ready,"
            " first_token, failed. The evidence begins with the kind of witness: span, metric,"
            " log, agent or kubernetes.",
            examples=[[_ROW]],
        ),
    ],
) -> Response:
    """Add observations of starts; those that are known already change nothing."""
    if len(observations) > MOST_OBSERVATIONS:
        raise InputError(
            f"{len(observations):,} observations at once",
            hint=f"send at most {MOST_OBSERVATIONS:,}",
        )
    found = [_read(row, number) for number, row in enumerate(observations)]
    added = await run_in_threadpool(add_observations, runtime, found)
    return negotiate.document({"rows_added": added, "rows_known": len(found) - added})


def _read(row: Mapping[str, Any], number: int) -> Any:
    times = {name: _time(row.get(name), f"observations[{number}].{name}") for name in _TIMES}
    return observation_of({**row, **times}, f"observations[{number}]")


_TIMES = ("started_at", "ended_at")


def _time(value: object, where: str) -> datetime:
    try:
        return moment(value)
    except ValueError:
        raise InputError(
            f"'{str(value)[:40]}' is not a time", where=where, hint="write 2026-01-31T12:00:00Z"
        ) from None
