"""How far what the targets say can be trusted."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from servescope.api import negotiate
from servescope.api.access import READS
from servescope.api.parameters import RuntimeDep, ScopeDep, answers
from servescope.documents import view_document

router = APIRouter(tags=["views"], dependencies=[READS])

_EXAMPLE: dict[str, Any] = {
    "view": "trust",
    "computed_at": "2026-01-31T12:00:00Z",
    "sentences": ["gpu-3:8000 is silent: Nobody answers at this address (connection refused)."],
    "measures": {},
    "frames": {
        "targets": {
            "columns": ["url", "grade", "since", "evidence", "advice"],
            "row_count": 1,
            "total_count": 1,
            "rows": [
                {
                    "url": "http://gpu-3:8000/metrics",
                    "grade": "silent",
                    "since": "2026-01-31T11:58:00Z",
                    "evidence": "Nobody answers at this address (connection refused).",
                    "advice": "Check that the process runs.",
                }
            ],
        }
    },
}


@router.get("/trust", responses=answers(_EXAMPLE))
def get_trust(runtime: RuntimeDep, scope: ScopeDep) -> Response:
    """Grades of every target and signal, worst first, with evidence and advice (view `trust`).

    Act on a signal only where `is_usable`; a target that is `idle` has zero demand, one that is
    `silent` an unknown one. Tables alone: `/views/trust/{targets,signals,history,drops}`.
    """
    view = runtime.view("trust", scope)
    return negotiate.document(view_document(view, runtime.catalog()))
