"""The text of the objectives: read, tried on history, written."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.responses import Response

from servescope import slo_text
from servescope.access.caller import recorded
from servescope.api import negotiate
from servescope.api.access import READS, needs
from servescope.api.json_route import JsonRoute
from servescope.api.parameters import RuntimeDep, ScopeDep, answers
from servescope.documents import plain

router = APIRouter(route_class=JsonRoute, tags=["slo"])

_TEXT = {
    "text": '[[slo]]\nname = "chat-ttft"\n…', "version": "9f2c6f3c1d0a7b11",
    "place": "/etc/servescope/slo.toml", "problem": None,
}  # fmt: skip
_TRIED: dict[str, Any] = {
    "problems": [],
    "rows": [
        {
            "name": "chat-ttft", "change": "changed", "target_ratio_now": 0.99,
            "target_ratio_draft": 0.995, "attainment_ratio_now": 0.993,
            "attainment_ratio_draft": 0.993, "budget_left_ratio_now": 0.3,
            "budget_left_ratio_draft": -0.4, "attempted_now": 14201, "attempted_draft": 14201,
        }
    ],
}  # fmt: skip
Text = Annotated[str, Body(description="The whole file, TOML.", examples=[_TEXT["text"]])]


@router.get("/objectives", responses=answers(_TEXT), dependencies=[READS])
def get_objectives(runtime: RuntimeDep) -> Response:
    """The file of objectives as text, and the version to name when it is written."""
    return negotiate.document(plain(slo_text.read(runtime)))


@router.post("/objectives/preview", responses=answers(_TRIED), dependencies=[READS])
def post_preview(
    runtime: RuntimeDep, scope: ScopeDep, text: Annotated[Text, Body(embed=True)]
) -> Response:
    """What a draft would have meant: every objective as it is and as it would be; keeps nothing."""
    return negotiate.document(plain(slo_text.tried(runtime, text, scope)))


@router.put("/objectives", responses=answers(_TEXT), dependencies=[needs("slo_save")])
def put_objectives(
    runtime: RuntimeDep,
    text: Text,
    seen: Annotated[str, Body(description="The version that the draft was made from.")],
    by: Annotated[str, Body(description="Who, for the record.", max_length=100)] = "api",
) -> Response:
    """Write the file and put it in force; 409 where somebody changed it meanwhile."""
    return negotiate.document(plain(slo_text.save(runtime, text, seen, recorded(by), "api")))
