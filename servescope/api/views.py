"""Views: the numbers of every page, and the tables behind them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from analysis.measure import View
from analysis.views import VIEWS
from servescope import workload
from servescope.api import negotiate
from servescope.api.access import READS
from servescope.api.parameters import FormatDep, RuntimeDep, ScopeDep, answers
from servescope.documents import scope_document, view_document
from servescope.runtime import SCOPE_NAMES, Runtime
from store.errors import InputError

router = APIRouter(tags=["views"], dependencies=[READS])

_VIEW_EXAMPLE: dict[str, Any] = {
    "view": "workload_arrivals",
    "scope": {
        "sources": ["azure-2023-conv"], "clock": "utc",
        "from": "2023-11-16T18:15:46.680590Z", "to": "2023-11-16T19:14:19.966990Z",
        "model": [], "tenant": [], "route": [], "instance": [],
    },
    "computed_at": "2026-01-31T12:00:00Z",
    "sentences": [],
    "empty": None,
    "measures": {
        "requests_per_second": {
            "value": 5.51, "unit": "requests/s", "low": None, "high": None, "n": 19366, "why": None,
        }
    },
    "frames": {"rate": {"columns": ["at", "requests_per_second"], "row_count": 118,
                        "total_count": 118, "rows": []}},
}  # fmt: skip
_FRAME_EXAMPLE = {
    "view": "workload_arrivals",
    "frame": "rate",
    "scope": _VIEW_EXAMPLE["scope"],
    "computed_at": "2026-01-31T12:00:00Z",
    "columns": ["at", "source", "requests_per_second"],
    "rows": [
        {
            "at": "2023-11-16T18:15:30Z",
            "source": "azure-2023-conv",
            "requests_per_second": 5.4,
        }
    ],
}
_ANALYSIS = {
    "schema": "servescope.analyze/1",
    "scope": {"sources": ["azure-2023-code"]},
    "findings": [{"rank": 1, "sentence": "azure-2023-code is prefill-heavy"}],
    "views": {"workload_arrivals": {"measures": {}, "frames": {}, "sentences": []}},
}
_LIST_EXAMPLE = {"views": [{"view": "fleet", "question": "Is the fleet healthy?", "options": []}]}


@router.get("/views", responses=answers(_LIST_EXAMPLE))
async def list_views() -> Response:
    """Every view, the question it answers and its options."""
    listed = [
        {"view": name, "question": spec.question, "options": list(spec.options)}
        for name, spec in VIEWS.items()
    ]
    return negotiate.document({"views": listed})


@router.get("/views/{name}", responses=answers(_VIEW_EXAMPLE))
def get_view(
    request: Request,
    runtime: RuntimeDep,
    scope: ScopeDep,
    name: str,
    *,
    rows: Annotated[bool, Query(description="false leaves the rows of the tables out.")] = True,
) -> Response:
    """All numbers and tables of a view.

    A view's own options, such as `slo` or `against`, are query parameters too.
    """
    return _whole(runtime, name, scope, options_of(request), rows=rows)


@router.get("/views/{name}/{frame}", responses=answers(_FRAME_EXAMPLE, tables=True))
def get_frame(
    request: Request, runtime: RuntimeDep, scope: ScopeDep, form: FormatDep, name: str, frame: str
) -> Response:
    """One table of a view."""
    view = runtime.view(name, scope, options_of(request))
    return _frame(runtime, view, frame, form)


@router.get("/slo", responses=answers(_FRAME_EXAMPLE, tables=True))
def list_slos(runtime: RuntimeDep, scope: ScopeDep, form: FormatDep) -> Response:
    """Every objective with attainment, budget and burn (the table `slos` of view `slo_list`)."""
    return _frame(runtime, runtime.view("slo_list", scope), "slos", form)


@router.get("/slo/{slo}", responses=answers(_VIEW_EXAMPLE))
def get_slo(runtime: RuntimeDep, scope: ScopeDep, slo: str) -> Response:
    """One objective in full (view `slo_detail`)."""
    return _whole(runtime, "slo_detail", scope, {"slo": slo})


@router.get("/workload", responses=answers(_ANALYSIS))
def get_workload_whole(
    runtime: RuntimeDep,
    scope: ScopeDep,
    against: Annotated[str | None, Query(description="Sources to compare with.")] = None,
    *,
    lines: Annotated[bool, Query(description="true gives text for a terminal.")] = False,
) -> Response:
    """The whole workload in one answer: every workload view and the ranked findings."""
    return negotiate.document(workload.analysis(runtime, scope, against, as_lines=lines))


@router.get("/workload/{aspect}", responses=answers(_VIEW_EXAMPLE))
def get_workload(request: Request, runtime: RuntimeDep, scope: ScopeDep, aspect: str) -> Response:
    """One aspect of the workload (view `workload_…`).

    Aspects: arrivals, burstiness, lengths, clients, sessions, prefix, failures, findings, compare.
    """
    return _whole(runtime, f"workload_{aspect}", scope, options_of(request))


def options_of(request: Request) -> dict[str, str]:
    """Query parameters that belong to the view itself."""
    common = {*SCOPE_NAMES, "format", "rows"}
    return {name: value for name, value in request.query_params.items() if name not in common}


def _whole(
    runtime: Runtime,
    name: str,
    scope: dict[str, str],
    options: dict[str, str],
    *,
    rows: bool = True,
) -> Response:
    view = runtime.view(name, scope, options)
    return negotiate.document(view_document(view, runtime.catalog(), rows=rows))


def _frame(runtime: Runtime, view: View, name: str, form: negotiate.Format) -> Response:
    if name not in view.frames:
        raise InputError(
            f"the view {view.name} has no table '{name}'",
            hint=f"its tables: {', '.join(view.frames) or 'none for this scope'}",
        )
    about: dict[str, Any] = {
        "view": view.name,
        "frame": name,
        "scope": scope_document(view.scope, runtime.catalog()),
        "computed_at": view.computed_at,
        "total_count": view.total(name),
    }
    return negotiate.table(view.frames[name], form, name=f"{view.name}-{name}", about=about)
