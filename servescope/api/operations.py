"""What changes the store from outside: targets and imports; and what leaves it: exports."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from servescope import exporting, importing
from servescope.api import negotiate
from servescope.api.access import READS, needs
from servescope.api.json_route import JsonRoute
from servescope.api.parameters import FormatDep, RuntimeDep, ScopeDep, answers, only_known
from servescope.changes import noted
from servescope.documents import plain
from servescope.runtime import Runtime
from store.database import incoming_folder
from store.errors import StoreError
from store.export_change import Change

router = APIRouter(route_class=JsonRoute, tags=["operations"], dependencies=[Depends(only_known)])

_TARGETS = {
    "columns": ["url", "engine", "engine_version", "state"],
    "rows": [
        {
            "url": "http://gpu-3:8000/metrics",
            "engine": "vllm",
            "engine_version": "0.13.2",
            "state": "ready",
        }
    ],
}
_IMPORT = {
    "imports": [
        {
            "source": "azure-2023-code", "format": "azure", "rows_read": 8819,
            "rows_added": 8819, "rows_duplicate": 0, "rows_rejected": 0, "seconds": 0.2,
        }
    ]
}  # fmt: skip

_EXPORTS = answers({})
_EXPORTS[200] = {
    "description": "The file",
    "content": {
        kind.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
        for kind, _ in exporting.MEDIA_TYPES.values()
    },
}


@router.get("/targets", responses=answers(_TARGETS, tables=True), dependencies=[READS])
def get_targets(runtime: RuntimeDep, form: FormatDep) -> Response:
    """Targets with engine, freshness and what was odd on their pages (view `admin`)."""
    return _admin(runtime, "targets", form)


@router.post(
    "/targets",
    status_code=201,
    responses=answers({"url": "http://gpu-3:8000/metrics"}),
    dependencies=[needs("watch")],
)
async def post_target(
    runtime: RuntimeDep,
    url: Annotated[str, Body(embed=True, description="An engine, such as http://gpu-3:8000.")],
) -> Response:
    """Scrape one more engine from now on."""
    added = await runtime.collecting().add(url)
    await run_in_threadpool(noted, runtime.database, runtime.clock, "targets.watch", added)
    return Response(
        negotiate.document({"url": added}).body, 201, media_type=negotiate.MEDIA_TYPES["json"]
    )


@router.delete(
    "/targets",
    responses=answers({"url": "http://gpu-3:8000/metrics"}),
    dependencies=[needs("unwatch")],
)
async def delete_target(
    runtime: RuntimeDep, url: Annotated[str, Query(description="The target's URL.")]
) -> Response:
    """Stop scraping a target; what was recorded stays."""
    removed = await runtime.collecting().remove(url)
    await run_in_threadpool(noted, runtime.database, runtime.clock, "targets.unwatch", removed)
    return negotiate.document({"url": removed})


@router.get(
    "/imports",
    responses=answers({"columns": ["import_id", "file"], "rows": []}, tables=True),
    dependencies=[READS],
)
def get_imports(runtime: RuntimeDep, form: FormatDep) -> Response:
    """What was imported, when, and how many rows were new (view `admin`)."""
    return _admin(runtime, "imports", form)


@router.post(
    "/imports",
    responses=answers(_IMPORT),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    },
    dependencies=[needs("import")],
)
async def post_import(request: Request, runtime: RuntimeDep) -> Response:
    """Import rows from a Parquet file in servescope's own columns, such as an export."""
    file = await _receive(request.stream(), _incoming(runtime))
    try:
        reports = await run_in_threadpool(
            importing.load_upload, runtime.database, file, runtime.imported
        )
    finally:
        await run_in_threadpool(file.unlink, missing_ok=True)
    made = [plain(report.as_dict()) for report in reports]
    after = {"imports": made}
    await run_in_threadpool(noted, runtime.database, runtime.clock, "import", "upload", after)
    return negotiate.document({"imports": made})


@router.get("/export/requests", response_class=Response, responses=_EXPORTS, dependencies=[READS])
def export_requests(
    runtime: RuntimeDep,
    scope: ScopeDep,
    form: Annotated[
        str, Query(alias="format", description="parquet, azure, mooncake or burstgpt.")
    ] = "parquet",
    keep: Annotated[
        float, Query(description="Share of the sessions that stay, chosen by hash: 0.0001 to 1.")
    ] = 1.0,
    speed: Annotated[
        float, Query(description="Times by which arrivals come faster: 0.01 to 100.")
    ] = 1.0,
) -> Response:
    """Requests of a scope as a file in a public format, streamed; thinned or sped up if asked."""
    found = runtime.scope(scope, shared=False)
    return exporting.response(runtime, found, form, Change(keep, speed))


def _admin(runtime: Runtime, frame: str, form: negotiate.Format) -> Response:
    view = runtime.view("admin", {})
    return negotiate.table(view.frames[frame], form, name=frame)


def _incoming(runtime: Runtime) -> Path:
    path = runtime.database.path
    if path is None:
        raise StoreError("a store in memory takes no uploads", hint="start it with --store FILE")
    folder = incoming_folder(path)
    folder.mkdir(exist_ok=True)
    return folder


async def _receive(chunks: AsyncIterator[bytes], folder: Path) -> Path:
    file = folder / f"{uuid.uuid4().hex}.parquet"
    with file.open("wb") as sink:
        try:
            async for chunk in chunks:
                sink.write(chunk)
        except BaseException:
            file.unlink(missing_ok=True)
            raise
    return file
