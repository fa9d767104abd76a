"""Our inventory for others: the list that a Prometheus follows, and how our own sources stand."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, Response

from servescope.api import negotiate
from servescope.api.access import READS
from servescope.api.parameters import RuntimeDep, answers, only_known
from store.queries.inventory import inventory

router = APIRouter(
    prefix="/discovery", tags=["discovery"], dependencies=[Depends(only_known), READS]
)

_GROUPS = [
    {
        "targets": ["gpu-3:8000"],
        "labels": {
            "__scheme__": "http", "__metrics_path__": "/metrics",
            "engine": "vllm", "engine_version": "0.32.0", "model": "llama-3-8b",
        },
    }
]  # fmt: skip
_SOURCES = {
    "sources": [{"name": "file:/etc/servescope/engines.yml", "target_count": 8, "problem": None}]
}


@router.get("/targets", responses=answers(_GROUPS))
def get_targets(
    runtime: RuntimeDep,
    engine: Annotated[str, Query(description="Only targets of this engine.")] = "",
    model: Annotated[str, Query(description="Only targets that serve this model.")] = "",
) -> Response:
    """All targets in use, as Prometheus' `http_sd_configs` reads them; `[]` when there are none."""
    rows = inventory(runtime.database.reader).to_dicts()
    wanted = [
        group_of(row)
        for row in rows
        if row["url"].startswith(("http://", "https://"))
        and engine in ("", row["engine"])
        and model in ("", row["model"])
    ]
    return JSONResponse(wanted)


@router.get("/sources", responses=answers(_SOURCES))
def get_sources(runtime: RuntimeDep) -> Response:
    """The sources that we discover targets from: how many each names, and what is wrong with it."""
    told = runtime.beside.collecting.discovered() if runtime.beside else ()
    return negotiate.document({"sources": [dataclasses.asdict(state) for state in told]})


def group_of(row: dict[str, Any]) -> dict[str, Any]:
    """One target as a target group of its own."""
    parts = urlsplit(row["url"])
    known = {name: row[name] for name in ("engine", "engine_version", "model") if row[name]}
    parameters = {f"__param_{name}": value for name, value in parse_qsl(parts.query)}
    return {
        "targets": [parts.netloc],
        "labels": {
            "__scheme__": parts.scheme,
            "__metrics_path__": parts.path or "/metrics",
            **parameters,
            **json.loads(row["labels"] or "{}"),
            **known,
        },
    }
