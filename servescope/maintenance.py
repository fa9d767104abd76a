"""What the server does on its own, regularly."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from analysis.slo_counting import good_rule
from servescope import backups
from servescope.clock_steps import ClockSteps
from servescope.jobs import Job
from servescope.runtime import Runtime
from servescope.starts import keep_starts
from store import drops, retention, rollup, sample_rollup, slo_rollup
from store.queries.slo import source_ids

ROLLUP_SECONDS = 30.0
RETENTION_SECONDS = 3600.0
CHECKPOINT_SECONDS = 300.0
DROPS_SECONDS = 30.0
STARTS_SECONDS = 60.0
RETRAINING_SECONDS = 600.0
BACKUP_SECONDS = 300.0


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

    def roll_up_samples() -> Mapping[str, Any] | None:
        done = sample_rollup.refresh_due(writer, clock.now())
        return dataclasses.asdict(done) if done.buckets else None

    def forget() -> Mapping[str, Any] | None:
        deleted = retention.delete_old(writer, settings, clock.now())
        return dataclasses.asdict(deleted) if deleted.total else None

    def checkpoint() -> None:
        retention.checkpoint(writer)

    predict = runtime.config.predict
    predicting = [
        Job("predictions", predict.ledger_seconds, runtime.predicting.settle),
        Job("demand", predict.forecast_seconds, runtime.predicting.forecast_demand),
        Job("start_times", predict.forecast_seconds, runtime.predicting.forecast_starts),
        Job("degradation", predict.degradation_seconds, runtime.predicting.estimate_degradation),
    ]
    if predict.retrain:
        predicting.append(Job("retraining", RETRAINING_SECONDS, runtime.predicting.retrain))
    backing_up = [Job("backup", BACKUP_SECONDS, lambda: backups.scheduled(runtime))]
    jobs = [
        *(predicting if predict.enabled else ()),
        *(backing_up if settings.backup_folder else ()),
        Job("rollup", ROLLUP_SECONDS, roll_up),
        Job("sample_rollup", ROLLUP_SECONDS, roll_up_samples),
        Job("retention", RETENTION_SECONDS, forget),
        Job("checkpoint", CHECKPOINT_SECONDS, checkpoint),
        Job("prediction_retention", RETENTION_SECONDS, runtime.predicting.forget),
        Job("decision_retention", RETENTION_SECONDS, runtime.controlling.forget),
        Job("alert_retention", RETENTION_SECONDS, runtime.alerting.forget),
        Job("replay_retention", RETENTION_SECONDS, lambda: runtime.replaying.forget(settings)),
        Job("report_retention", RETENTION_SECONDS, lambda: runtime.reporting.forget()),
        Job("drops", DROPS_SECONDS, lambda: keep_drops(runtime), is_own=True),
        Job("starts", STARTS_SECONDS, lambda: keep_starts(runtime), is_own=True),
    ]
    steps = ClockSteps(clock)
    # A clock that somebody set a year ahead would make everything old.
    return [
        dataclasses.replace(job, work=steps.when_steady(job.work))
        if job.name.endswith("retention")
        else job
        for job in jobs
    ]


def keep_drops(runtime: Runtime) -> Mapping[str, Any] | None:
    """Store what the doors have not taken since the last time; kept for later when that fails."""
    taken = runtime.drops.take()
    if not taken:
        return None
    rows = [(drop.door, drop.reason, drop.count, drop.example) for drop in taken]
    try:
        drops.add(runtime.database.writer, rows, runtime.clock.now()).result()
    except Exception:
        runtime.drops.put_back(taken)
        raise
    return {"reasons": len(taken), "dropped": sum(drop.count for drop in taken)}
