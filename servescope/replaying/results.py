"""A comparison from beginning to end: run in worker processes, summed up, kept."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from threading import Event
from typing import Any

import polars as pl

from analysis import replay_frames
from controller.calibration.recorded import Recorded
from controller.comparison.campaign import Compared, Standing, compare
from controller.comparison.chains import expected_runs
from controller.comparison.contradictions import FAIR_SEEDS
from controller.comparison.fleets import is_priced, is_unlike, manner
from controller.comparison.protocol import Comparison
from controller.comparison.validity import fleet_text, least_sure
from controller.comparison.window import error_of
from controller.simulator.workload import Workload
from servescope.replaying.asked import Asked, scaled
from servescope.replaying.rows import plain_rows
from servescope.replaying.traces import Found
from store import replays
from store.writer import Writer


@dataclass(frozen=True, slots=True)
class Planned:
    """A comparison that can be run.

    Attributes:
        replay_id: for good.
        trace: name.
        asked: every parameter.
        comparison: the protocol.
        workload: scaled.
        row: as it is kept.
        window: what was recorded of it, where the model can be judged by that.
    """

    replay_id: str
    trace: str
    asked: Asked
    comparison: Comparison
    workload: Workload
    row: replays.ReplayRow
    window: Recorded | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it.

    Attributes:
        planned: what was asked.
        state: "done" or "cancelled".
        seconds: it took.
        outcomes: one row a replay.
        lanes: courses of replicas.
        notes: what people should know.
    """

    planned: Planned
    state: str
    seconds: float
    outcomes: pl.DataFrame
    lanes: pl.DataFrame
    notes: tuple[str, ...]

    @property
    def summary(self) -> pl.DataFrame:
        """Medians and ranges."""
        by_cost = self.planned.comparison.ranks_by_cost
        return replay_frames.summary(self.outcomes, self.planned.row.goal_ratio, by_cost=by_cost)

    def document(self) -> dict[str, Any]:
        """All of it as plain values, for `--json`, `--to` and others to read."""
        row, found = self.planned.row, self.summary
        return {
            "replay_id": row.replay_id,
            "state": self.state,
            "created_at": row.created_at,
            "seconds": round(self.seconds, 3),
            "validity": {
                "is_validated": row.is_validated,
                "text": row.validity,
                "mark": None if row.is_validated else "not validated",
                "fit_error": row.error,
            },
            "trace": row.trace,
            "requests": len(self.planned.workload),
            "asked": row.asked,
            "profile": row.profile,
            "objective": asdict(self.planned.comparison.objective),
            "window": replay_frames.window(self.outcomes).to_dicts(),
            "results": plain_rows(found),
            "fleet": row.fleet,
            "sentences": replay_frames.verdict(
                found, row.goal_ratio, by_cost=self.planned.comparison.ranks_by_cost
            ),
            "outcomes": plain_rows(self.outcomes),
            "lanes": self.lanes.to_dicts(),
            "notes": list(self.notes),
        }


def planned(
    trace: str,
    found: Found,
    asked: Asked,
    at: datetime,
    by: str,
    *,
    may_import: bool,
) -> Planned:
    """Check everything that can be checked before anything is run.

    Args:
        trace: name of what is replayed.
        found: its requests, not scaled yet.
        asked: parameters.
        at: now, aware UTC.
        by: who asks.
        may_import: whether policies and profiles may be read from this machine's files.

    Raises:
        InputError: a parameter is out of range.
        ControllerError: parameters that contradict each other, or a profile that cannot serve this.
    """
    faster = scaled(found.workload, asked.scale)
    comparison = asked.comparison(faster, may_import=may_import)
    profiles = [pool.profile for pool in comparison.pools]
    # Too many, or no library to tune with: said now, not when its turn has come.
    expected_runs(comparison, [asked.case(trace, faster)])
    profile = least_sure(profiles)
    replay_id = f"{at:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    row = replays.ReplayRow(
        replay_id=replay_id,
        created_at=at,
        created_by=by,
        trace=trace,
        asked={**asked.document(), "most": comparison.most, "least": comparison.least},
        goal_ratio=comparison.objective.attainment_ratio,
        profile=asdict(profile),
        validity=fleet_text(profiles),
        is_validated=comparison.is_validated,
        error=None if profile.error is None else asdict(profile.error),
        fleet=fleet_document(comparison),
    )
    # It is not known which of several pools served which request.
    window = found.recorded if len(comparison.pools) == 1 else None
    return Planned(replay_id, trace, asked, comparison, faster, row, window)


def fleet_document(comparison: Comparison) -> dict[str, Any]:
    """The pools and how they are compared, for whoever reads the results."""
    pools = comparison.pools
    return {
        "pools": [
            {
                "name": pool.name, "role": pool.role, "profile": pool.profile.name,
                "gpus": pool.profile.gpus, "gpu_type": pool.profile.gpu_type,
                "price_per_hour": pool.profile.price_per_hour, "least": pool.least,
                "most": pool.most,
                "startup_seconds": None if pool.startup is None else pool.startup.quantile(0.5),
                "transfer_seconds": pool.profile.transfer_seconds,
                "transfer_token_seconds": pool.profile.transfer_token_seconds,
            }
            for pool in pools
        ],
        "ranks_by_cost": comparison.ranks_by_cost,
        "has_guards": comparison.has_guards,
        "has_forecasts": comparison.has_forecasts,
        "most_gpus": comparison.rules.most_gpus,
        "most_per_hour": comparison.rules.most_per_hour,
        "decided": {name: manner(pools, name) for name in comparison.policies}
        if len(pools) > 1
        else {},
    }  # fmt: skip


def run(
    what: Planned, workers: int, told: Callable[[Standing], None], stop: Event | None = None
) -> Result:
    """Replay all of it; what is done when it is stopped is given back.

    Raises:
        ControllerError: it cannot be run.
    """
    case = what.asked.case(what.trace, what.workload)
    made = compare(what.comparison, [case], workers, told, stop, window=what.window)
    return Result(
        _judged(what, made),
        "done" if made.is_complete else "cancelled",
        made.seconds,
        replay_frames.outcomes(made.rows),
        replay_frames.lanes(made.rows),
        (*made.notes, *_warnings(what, made)),
    )


def keep(writer: Writer, result: Result, at: datetime) -> None:
    """Keep outcomes and lanes of a comparison whose run is in the store, and say that it ended."""
    replay_id = result.planned.replay_id
    row = result.planned.row
    if result.planned.window is not None and row.error is not None:
        valid = row.is_validated
        replays.judged(writer, replay_id, row.validity, row.error, is_validated=valid).result()
    replays.keep(writer, replay_id, result.outcomes, result.lanes).result()
    text = "; ".join(result.notes) or None
    replays.stand(writer, replay_id, at, result.state, text, result.seconds).result()


def _judged(what: Planned, made: Compared) -> Planned:
    """By the window itself, where that was simulated; that beats what a profile says of others."""
    error = error_of([row for row in made.rows if row["state"] == "done"])
    if error is None:
        return replace(what, window=None)
    other = "" if error.is_validated else ", unless it ran on other replicas than these"
    row = replace(
        what.row,
        validity=f"{error.sentence()}{other}",
        is_validated=error.is_validated,
        error=asdict(error),
    )
    return replace(what, row=row)


def _warnings(what: Planned, made: Compared) -> list[str]:
    found = _of_fleet(what.comparison)
    if len(what.comparison.seeds) < FAIR_SEEDS:
        found.append(
            f"{len(what.comparison.seeds)} seeds: ranges are narrower than they should be;"
            f" {FAIR_SEEDS} are the protocol's"
        )
    if not made.is_complete:
        found.append("stopped before the end: rows with fewer than two seeds show no numbers")
    return found


def _of_fleet(comparison: Comparison) -> list[str]:
    """How a fleet was decided, and what its numbers cannot say."""
    pools = comparison.pools
    found = []
    alone = [name for name in comparison.policies if manner(pools, name) == "pool by pool"]
    if alone:
        found.append(
            f"{', '.join(alone)}: each pool is decided alone, as its owner would deploy it"
        )
    if is_unlike(pools) and not is_priced(pools):
        found.append(
            "the cards differ and have no prices: GPU-hours of unlike cards are added up"
            " (price_per_hour in each pool compares by money)"
        )
    if comparison.has_guards:
        found.append("the live guards stand behind every policy")
    return found
