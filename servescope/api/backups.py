"""The door that a backup leaves by."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.responses import Response, StreamingResponse

from servescope.api.access import needs
from servescope.api.json_route import JsonRoute
from servescope.api.parameters import RuntimeDep, answers, only_known
from servescope.changes import noted
from store import backup, snapshot

BYTES_HEADER = "X-Servescope-Backup-Bytes"
router = APIRouter(route_class=JsonRoute, tags=["operations"], dependencies=[Depends(only_known)])


_ANSWERS = answers({})
_ANSWERS[200] = {
    "description": "The archive",
    "content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}},
}


@router.post(
    "/backup",
    responses=_ANSWERS,
    dependencies=[needs("backup")],
)
def post_backup(runtime: RuntimeDep) -> Response:
    """The whole store as it is now, as a tar archive, while rows go on arriving.

    Its last member, `manifest.json`, says what came before it: an archive without one is cut short.
    """
    runtime.veils.refuse("a backup")
    noted(runtime.database, runtime.clock, "backup", "download")
    taken = snapshot.of_running(runtime.database, runtime.clock.now())
    return StreamingResponse(
        backup.stream(taken),
        media_type="application/x-tar",
        headers={BYTES_HEADER: str(taken.size_bytes)},
    )
