"""The doors of gateways: their rows, how they stand, what they are to decide by."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import Response

from collector.agent.wire import BATCH_HEADER
from servescope.api import negotiate
from servescope.api.bodies import BodyRules, BodyUnsupported, media_type, read_body
from servescope.api.parameters import answers, only_known
from servescope.gateway.intake import GatewayRows, check_name

router = APIRouter(tags=["gateway"], dependencies=[Depends(only_known)])

_RULES = BodyRules(most_bytes=16 << 20)
_TYPE = "application/json"
_KEPT = {"rows": 64, "added": 64, "known": False, "rejected": 0, "reasons": {}}


@router.post(
    "/gateways/{name}/rows",
    responses=answers(_KEPT),
    openapi_extra={"requestBody": {"required": True, "content": {_TYPE: {}}}},
)
async def post_rows(
    name: str,
    request: Request,
    batch_id: Annotated[
        str,
        Header(alias=BATCH_HEADER, description="Id of the batch; a known one adds nothing."),
    ] = "",
) -> Response:
    """Keep rows of requests that a gateway served or refused. The answer comes when they are safe.

    400, 413, 415 and 422 mean: never send this again. Anything else but 2xx: send it later.
    """
    check_name(name)
    intake: GatewayRows = request.app.state.gateway_rows
    if media_type(request) != _TYPE:
        raise BodyUnsupported(f"a batch has the type {_TYPE}")
    kept = await intake.take(name, batch_id, await read_body(request, _RULES))
    return negotiate.document(
        {
            "rows": kept.rows, "added": kept.added, "known": kept.known,
            "rejected": kept.rejected, "reasons": dict(kept.reasons),
        }
    )  # fmt: skip
