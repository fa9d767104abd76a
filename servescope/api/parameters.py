"""Query parameters that many answers share, described once."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request

from servescope.api import negotiate, problems
from servescope.runtime import Runtime
from store.errors import InputError
from store.nearest import nearest_hint

ScopeParams = dict[str, str]


async def runtime_of(request: Request) -> Runtime:
    """The running process's state."""
    runtime: Runtime = request.app.state.runtime
    return runtime


async def scope_of(
    source: Annotated[
        str | None,
        Query(description="Source names, separated by commas; default: live, else newest traces."),
    ] = None,
    from_: Annotated[
        str | None,
        Query(alias="from", description="Start, inclusive: now-24h or ISO 8601 (UTC)."),
    ] = None,
    to: Annotated[
        str | None,
        Query(description="End, exclusive. For a trace, now is the end of its last record."),
    ] = None,
    model: Annotated[str | None, Query(description="Only these models.")] = None,
    tenant: Annotated[str | None, Query(description="Only these tenants.")] = None,
    route: Annotated[str | None, Query(description="Only these routes.")] = None,
    instance: Annotated[str | None, Query(description="Only these instances.")] = None,
) -> ScopeParams:
    """What a question is about."""
    given = {
        "source": source, "from": from_, "to": to, "model": model,
        "tenant": tenant, "route": route, "instance": instance,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value}


async def format_of(
    request: Request,
    wanted: Annotated[
        str | None,
        Query(alias="format", description="json, csv, parquet or arrow; beats Accept."),
    ] = None,
) -> negotiate.Format:
    """The form to answer in."""
    return negotiate.choose(wanted, request.headers.get("accept"))


async def page_of(
    runtime: Annotated[Runtime, Depends(runtime_of)],
    limit: Annotated[
        int, Query(ge=1, description="Most rows; capped by server.api_rows.", examples=[100])
    ] = 1000,
    offset: Annotated[int, Query(ge=0, le=10_000_000, description="Rows to skip.")] = 0,
) -> tuple[int, int]:
    """Limit and offset, the limit capped."""
    return min(limit, runtime.config.server.api_rows), offset


async def only_known(request: Request) -> None:
    """Refuse query parameters that the operation does not have: a typo is no silent default.

    Raises:
        InputError: naming the nearest that it has.
    """
    known = _parameter_names(request)
    for name in request.query_params:
        if name not in known:
            hint = nearest_hint(name, sorted(known))
            raise InputError(f"there is no parameter '{name}'", hint=hint)


def _parameter_names(request: Request) -> set[str]:
    """Query parameters of the operation, from the description that people read."""
    app: FastAPI = request.app
    paths = app.openapi()["paths"]
    operation = paths[app.state.api_root + request.scope["route"].path][request.method.lower()]
    return {item["name"] for item in operation.get("parameters", []) if item["in"] == "query"}


RuntimeDep = Annotated[Runtime, Depends(runtime_of)]
ScopeDep = Annotated[ScopeParams, Depends(scope_of)]
FormatDep = Annotated[negotiate.Format, Depends(format_of)]
PageDep = Annotated[tuple[int, int], Depends(page_of)]


def answers(example: Any, *, tables: bool = False) -> dict[int | str, dict[str, Any]]:
    """OpenAPI description of an answer and of its failures.

    Args:
        example: a JSON answer.
        tables: whether CSV, Parquet and Arrow can be had as well.
    """
    content: dict[str, Any] = {"application/json": {"example": example}}
    if tables:
        for form, media_type in negotiate.MEDIA_TYPES.items():
            if form != "json":
                schema = {"type": "string", "format": "text" if form == "csv" else "binary"}
                content[media_type.partition(";")[0]] = {"schema": schema}
    failure = {
        "description": "Problem details (RFC 9457)",
        "content": {problems.MEDIA_TYPE: {"schema": problems.SCHEMA}},
    }
    return {200: {"description": "The answer", "content": content}, "4XX": failure, "5XX": failure}
