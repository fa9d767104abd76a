"""What the server does on its own, regularly."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from analysis.slo import good_rule
from servescope.jobs import Job
from servescope.runtime import Runtime
from store import retention, rollup, slo_rollup
from store.queries.slo import source_ids

ROLLUP_SECONDS = 30.0
RETENTION_SECONDS = 3600.0
CHECKPOINT_SECONDS = 300.0


def jobs_for(runtime: Runtime) -> list[Job]:
    """The jobs of a server over this runtime."""
    writer, settings, clock = runtime.database.writer, runtime.config.store, runtime.clock

    def roll_up() -> Mapping[str, Any] | None:
        now = clock.now()
        kept_since = retention.requests_kept_since(settings, now)
        done = rollup.refresh_due(writer, now, kept_since=kept_since)
        ids = source_ids(runtime.database.reader)
        rules = [good_rule(slo, ids) for slo in runtime.slos.definitions()]
        counted = slo_rollup.refresh_due(writer, rules, kept_since=kept_since)
        details = {**dataclasses.asdict(done), "objective_buckets": counted.buckets}
        return details if done.buckets or counted.buckets else None

    def forget() -> Mapping[str, Any] | None:
        deleted = retention.delete_old(writer, settings, clock.now())
        return dataclasses.asdict(deleted) if deleted.total else None

    def checkpoint() -> None:
        retention.checkpoint(writer)

    return [
        Job("rollup", ROLLUP_SECONDS, roll_up),
        Job("retention", RETENTION_SECONDS, forget),
        Job("checkpoint", CHECKPOINT_SECONDS, checkpoint),
    ]
