"""What the process knows of itself, for the page Admin."""

from __future__ import annotations

from typing import Any

from servescope import config as configuration
from servescope.runtime import Runtime


def document(runtime: Runtime) -> dict[str, Any]:
    """Settings with where they come from, and what the process counts about itself.

    `numbers`: (words, value, unit, about), an unknown value is None.
    """
    return {
        "file": str(runtime.config.file) if runtime.config.file else None,
        "settings": configuration.rows(runtime.config),
        "numbers": _numbers(runtime),
    }


def _numbers(runtime: Runtime) -> list[tuple[str, float | None, str, str]]:
    writer = runtime.database.writer.stats()
    uptime = (runtime.clock.now() - runtime.started_at).total_seconds()
    return [
        ("Running for", uptime, "s", "since this process started"),
        ("Rows waiting", float(writer.queued_rows), "rows", "to be written"),
        ("Commits", float(writer.commits), "", "since this process started"),
        ("Batches failed", float(writer.batches_failed), "", "with content the store refused"),
    ]
