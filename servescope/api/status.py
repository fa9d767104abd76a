"""How the server is: health, versions, settings, threads and queues."""

from __future__ import annotations

import dataclasses
import sys
import threading
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from servescope import config as configuration
from servescope import support
from servescope.api import negotiate, problems
from servescope.api.access import EVERYBODY, READS, needs
from servescope.api.parameters import RuntimeDep, answers
from servescope.cli.configuration import versions
from servescope.runtime import Runtime
from store.condition import RETRY_SECONDS

router = APIRouter(tags=["status"])
root_router = APIRouter(tags=["status"])

_INDEX = {
    "name": "servescope",
    "version": "0.1.0",
    "description": "/api/v1/openapi.json",
    "paths": ["/api/v1/views"],
}
_HEALTH = {
    "status": "ok", "version": "0.1.0", "pid": 4121, "url": "http://127.0.0.1:8787",
    "store": "/home/ana/.local/share/servescope/store.duckdb",
    "started_at": "2026-01-31T12:00:00Z", "uptime_seconds": 81.4,
    "write_lag_seconds": 0.0, "queued_rows": 0, "slo_file_problem": None, "jobs_failing": [],
    "store_state": "ok", "store_trouble": None, "store_trouble_since": None,
    "store_trouble_hint": None,
}  # fmt: skip


@root_router.get("/healthz", response_class=PlainTextResponse, dependencies=[EVERYBODY])
async def healthz(runtime: RuntimeDep) -> str:
    """The process answers; nothing that a restart would mend is wrong. Says what else is."""
    found = runtime.database.standing.now()
    return "ok\n" if found.state == "ok" else f"ok, but {found.in_short}\n"


@root_router.get("/readyz", response_class=PlainTextResponse, dependencies=[EVERYBODY])
async def readyz(runtime: RuntimeDep) -> Response:
    """The store takes rows and questions."""
    found = runtime.database.standing.now()
    if found.state != "ok":
        return problems.problem(
            503, f"store_{found.state}", found.in_short, hint=found.hint,
            headers={"Retry-After": str(round(RETRY_SECONDS))}, since=found.since,
        )  # fmt: skip
    stats = runtime.database.writer.stats()
    if stats.oldest_wait_seconds > WRITE_STALL_SECONDS:
        return problems.problem(
            503, "not_ready", f"rows have waited {stats.oldest_wait_seconds:.0f} s for the writer",
            hint="see /api/v1/-/queues",
        )  # fmt: skip
    return PlainTextResponse("ready\n")


@root_router.get("/api/v1", responses=answers(_INDEX), dependencies=[EVERYBODY])
async def index(request: Request, runtime: RuntimeDep) -> Response:
    """What there is to ask for."""
    described = request.app.openapi()["paths"]
    listed = [path for path, methods in described.items() if "get" in methods and "{" not in path]
    return negotiate.document(
        {
            "name": "servescope",
            "version": runtime.version,
            "description": f"{request.url.path.rstrip('/')}/openapi.json",
            "paths": listed,
        }
    )


@router.get("/health", responses=answers(_HEALTH), dependencies=[READS])
async def health(runtime: RuntimeDep) -> Response:
    """Is the server well, which store does it hold, how far behind is the writer?"""
    return negotiate.document(health_document(runtime))


@router.get(
    "/-/versions",
    responses=answers({"servescope": "0.1.0", "duckdb": "1.5.5"}),
    dependencies=[READS],
)
def get_versions() -> Response:
    """Versions of servescope and of what it stands on."""
    return negotiate.document(versions())


@router.get(
    "/-/settings", responses=answers({"file": None, "settings": []}), dependencies=[needs("inside")]
)
async def get_settings(runtime: RuntimeDep) -> Response:
    """Every setting in force and where it comes from; secrets are masked."""
    settings = configuration.rows(runtime.config)
    return negotiate.document({"file": runtime.config.file, "settings": settings})


@router.get(
    "/-/support",
    responses=answers({"schema": "servescope.support/1", "health": {}}),
    dependencies=[needs("support")],
)
def get_support(runtime: RuntimeDep) -> Response:
    """All that helps somebody to help you, in one file; names, addresses and secrets left out."""
    answer = negotiate.document(support.bundle(runtime, health_document(runtime)))
    answer.headers["Content-Disposition"] = 'attachment; filename="servescope-support.json"'
    return answer


@router.get(
    "/-/threads",
    responses=answers({"threads": [{"name": "store-writer"}]}),
    dependencies=[needs("inside")],
)
async def get_threads() -> Response:
    """What every thread is doing: its name and the innermost lines of its stack."""
    frames = sys._current_frames()
    listed = [
        {
            "name": thread.name,
            "daemon": thread.daemon,
            "stack": _stack(frames.get(thread.ident or 0)),
        }
        for thread in threading.enumerate()
    ]
    return negotiate.document({"threads": listed})


@router.get(
    "/-/queues",
    responses=answers({"writer": {"queued_rows": 0}, "cache": {"hits": 7}}),
    dependencies=[READS],
)
async def get_queues(runtime: RuntimeDep) -> Response:
    """What waits: writes, queries, shared views."""
    return negotiate.document(
        {
            "writer": dataclasses.asdict(runtime.database.writer.stats()),
            "reader": runtime.database.reader.stats(),
            "cache": dataclasses.asdict(runtime.cache.stats()),
        }
    )


WRITE_STALL_SECONDS = 60.0
STACK_LINES = 5


def health_document(runtime: Runtime) -> dict[str, Any]:
    """The body of `/api/v1/health`; asks the database nothing, so it answers under load."""
    stats = runtime.database.writer.stats()
    stalled = stats.oldest_wait_seconds > WRITE_STALL_SECONDS
    standing = runtime.database.standing.now()
    failing = runtime.beside.jobs.failing() if runtime.beside else {}
    troubles = stalled or failing or runtime.slos.problem or standing.state != "ok"
    return {
        "status": "degraded" if troubles else "ok",
        "version": runtime.version,
        "pid": runtime.pid,
        "url": runtime.url,
        "store": runtime.store_text,
        "started_at": runtime.started_at,
        "uptime_seconds": (runtime.clock.now() - runtime.started_at).total_seconds(),
        "write_lag_seconds": stats.oldest_wait_seconds,
        "queued_rows": stats.queued_rows,
        "slo_file_problem": runtime.slos.problem,
        "jobs_failing": failing,
        "store_state": standing.state,
        "store_trouble": standing.what or None,
        "store_trouble_since": standing.since,
        "store_trouble_hint": standing.hint or None,
    }


def _stack(frame: Any) -> list[str]:
    lines: list[str] = []
    while frame is not None and len(lines) < STACK_LINES:
        code = frame.f_code
        lines.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return lines
