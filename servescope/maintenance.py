"""What the server does on its own, regularly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servescope.jobs import Job
from servescope.runtime import Runtime

ROLLUP_SECONDS = 30.0
RETENTION_SECONDS = 3600.0
CHECKPOINT_SECONDS = 300.0


def jobs_for(runtime: Runtime) -> list[Job]:
    """The jobs of a server over this runtime."""
    database = runtime.database

    def checkpoint() -> Mapping[str, Any] | None:
        before = database.size_bytes()
        # A checkpoint cannot run inside a transaction, so it uses a cursor of its own.
        with database.reader.cursor(runtime.config.store.query_limit_seconds) as cursor:
            cursor.execute("CHECKPOINT")
        return {"bytes_before": before, "bytes_after": database.size_bytes()}

    return [Job("checkpoint", CHECKPOINT_SECONDS, checkpoint, quiet=True)]
