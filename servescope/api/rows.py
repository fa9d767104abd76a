"""Recorded rows: requests, samples, sources, and read-only SQL over all of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.responses import Response

from servescope.api import negotiate
from servescope.api.access import READS
from servescope.api.json_route import JsonRoute
from servescope.api.parameters import (
    FormatDep,
    PageDep,
    RuntimeDep,
    ScopeDep,
    answers,
    only_known,
)
from servescope.documents import scope_document, source_document
from store import adhoc
from store.queries import rows

router = APIRouter(route_class=JsonRoute, tags=["rows"], dependencies=[Depends(only_known), READS])

_REQUESTS = {
    "scope": {"sources": ["azure-2023-code"], "clock": "utc"},
    "limit": 1,
    "offset": 0,
    "next": "/api/v1/requests?source=azure-2023-code&limit=1&offset=1",
    "columns": ["source", "arrived_at", "status", "input_tokens", "output_tokens"],
    "rows": [
        {
            "source": "azure-2023-code", "arrived_at": "2023-11-16T18:17:03.979960Z",
            "status": "ok", "input_tokens": 4808, "output_tokens": 10,
        }
    ],
}  # fmt: skip
_SAMPLES = {
    "columns": ["sampled_at", "target", "signal", "kind", "unit", "labels", "value"],
    "rows": [
        {
            "sampled_at": "2026-01-31T12:00:00Z", "target": "http://gpu-3:8000/metrics",
            "signal": "requests_running", "kind": "gauge", "unit": "requests", "labels": "{}",
            "value": 7.0,
        }
    ],
}  # fmt: skip
_SOURCES = {
    "sources": [
        {
            "source_id": 1, "name": "live", "kind": "live", "format": "live", "clock": "utc",
            "first_at": None, "last_at": None, "request_count": 0,
        }
    ]
}  # fmt: skip
_SQL = {"columns": ["source", "n"], "rows": [{"source": "azure-2023-code", "n": 8819}],
        "truncated": False, "truncated_why": None, "seconds": 0.004}  # fmt: skip


@router.get("/requests", responses=answers(_REQUESTS, tables=True))
def get_requests(
    request: Request,
    runtime: RuntimeDep,
    scope: ScopeDep,
    page: PageDep,
    form: FormatDep,
    status: Annotated[
        str | None, Query(description="ok, failed, refused, aborted; several with commas.")
    ] = None,
    sort: Annotated[
        str, Query(description="A column; a leading - turns the order round.")
    ] = "arrived_at",
) -> Response:
    """Requests as they were recorded, a page at a time."""
    limit, offset = page
    chosen = runtime.scope(scope, shared=False)
    statuses = tuple(part.strip() for part in (status or "").split(",") if part.strip())
    frame = rows.requests_page(
        runtime.database.reader, chosen, limit=limit + 1, offset=offset, sort=sort, status=statuses
    )
    veil = runtime.veils.now
    if veil is not None:
        frame = veil.frame(frame)
        chosen = replace(chosen, tenants=tuple(veil.names(chosen.tenants)))
    following = _next(request, limit, offset) if frame.height > limit else None
    about = {
        "scope": scope_document(chosen, runtime.catalog()),
        "limit": limit,
        "offset": offset,
        "next": following,
    }
    return negotiate.table(
        frame.head(limit), form, name="requests", about=about, headers=_link(following)
    )


@router.get("/samples", responses=answers(_SAMPLES, tables=True))
def get_samples(
    request: Request,
    runtime: RuntimeDep,
    scope: ScopeDep,
    page: PageDep,
    form: FormatDep,
    signal: Annotated[str | None, Query(description="Only this canonical signal.")] = None,
    target: Annotated[str | None, Query(description="Only the target with this URL.")] = None,
) -> Response:
    """Samples scraped from live targets, oldest first. Counters are cumulative, as exposed."""
    limit, offset = page
    chosen = runtime.scope({**scope, "source": "live"}, shared=False)
    frame = rows.samples_page(
        runtime.database.reader, chosen.start, chosen.end,
        signal=signal, target=target, limit=limit + 1, offset=offset,
    )  # fmt: skip
    following = _next(request, limit, offset) if frame.height > limit else None
    about = {"limit": limit, "offset": offset, "next": following}
    return negotiate.table(
        frame.head(limit), form, name="samples", about=about, headers=_link(following)
    )


@router.get("/sources", responses=answers(_SOURCES))
def get_sources(runtime: RuntimeDep) -> Response:
    """All sources: the live fleet and the imported traces, with their span and clock."""
    return negotiate.document({"sources": [source_document(s) for s in runtime.catalog()]})


@router.post("/sql", responses=answers(_SQL, tables=True))
def post_sql(
    runtime: RuntimeDep,
    form: FormatDep,
    sql: Annotated[
        str,
        Body(
            embed=True,
            description="One SELECT; no files, no network, limited time and rows.",
            examples=["SELECT source, count(*) AS n FROM requests GROUP BY source"],
        ),
    ],
) -> Response:
    """Read-only SQL over the store."""
    runtime.veils.refuse("SQL")
    settings = runtime.config.store
    result = adhoc.query(
        runtime.database,
        sql,
        limit_seconds=settings.adhoc_limit_seconds,
        row_cap=settings.adhoc_rows,
    )
    return negotiate.table(
        result.frame,
        form,
        name="query",
        about={
            "truncated": result.truncated,
            "truncated_why": result.truncated_why,
            "seconds": result.seconds,
        },
        headers={"X-Truncated": str(result.truncated).lower()},
    )


def _next(request: Request, limit: int, offset: int) -> str:
    url = request.url.include_query_params(limit=limit, offset=offset + limit)
    return f"{url.path}?{url.query}"


def _link(following: str | None) -> dict[str, str]:
    return {"Link": f'<{following}>; rel="next"'} if following else {}
