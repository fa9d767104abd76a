"""Rows of the store -> `Observation`: what replicas told lately, and how far that can be trusted.

    fresh     every ready replica told it within a few scrapes
    partial   some did not; the value is of those that did
    stale     all that is known is old, stands still while requests run, or contradicts the requests
    missing   nobody ever told it

Zero is none of these: a replica that answers and has nothing to do is fresh, and its value is 0.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

import polars as pl

from analysis.instances import instance_name
from controller.actuators.base import Scale
from controller.expected import Expected, Expecting
from controller.observation import Grade, Observation, PoolView, Reading, ReplicaView, Role
from controller.pools import Fleet, Pool
from controller.readings import (
    LEFT_OUT_AFTER,
    Reads,
    Told,
    readings_of,
    told_by_target,
)
from store.clock import Clock
from store.queries import control
from store.reader import Reader

SIZES_SECONDS = 600.0
LATENCY_SECONDS = 120.0
HISTORY_SECONDS = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Seen:
    """An observation, and what is worth knowing beside it.

    Attributes:
        observation: for the policy.
        notes: one sentence for each thing that is not as it should be.
    """

    observation: Observation
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Watched:
    """One target of a pool."""

    target_id: int
    instance: str
    model: str | None
    added_at: datetime


class StoreEyes:
    """Reads the store. Belongs to one thread at a time.

    Args:
        reader: the store.
        clock: the time.
        window_seconds: over which rates are measured.
        lag_seconds: after which the row of an ended request is there.
        scrape_seconds: how often targets are scraped.
    """

    def __init__(
        self,
        reader: Reader,
        clock: Clock,
        window_seconds: float,
        lag_seconds: float,
        scrape_seconds: float,
    ) -> None:
        self._reader, self._clock = reader, clock
        # A window must hold two scrapes, or nothing grows in it.
        self._window = max(window_seconds, 2 * scrape_seconds)
        self._lag, self._scrape = lag_seconds, scrape_seconds
        self._expecting = Expecting(reader)
        self._last: dict[tuple[str, str], tuple[float, datetime]] = {}
        self._targets: tuple[pl.DataFrame, list[tuple[Watched, dict[str, str]]]] | None = None

    def observe(self, fleet: Fleet, scales: Mapping[str, Scale], *, is_first: bool = False) -> Seen:
        """How the pools stand now.

        Args:
            fleet: its pools.
            scales: what the platforms tell of them; a pool may be absent.
            is_first: whether the policy remembers nothing, and is told what was before.
        """
        now = self._clock.now().replace(tzinfo=None)
        watched = self._watched()
        views, notes = [], []
        for pool in fleet.pools:
            mine = [one for one, labels in watched if matches(pool, labels)]
            view, words = self._pool(pool, mine, scales.get(pool.name), now)
            views.append(replace(view, history=self._history(pool, mine, now, is_first)))
            notes += [f"{pool.name}: {word}" for word in words]
        at = self._clock.now().timestamp()
        return Seen(Observation(at, tuple(views), fleet.objective, self._window), tuple(notes))

    def _watched(self) -> list[tuple[Watched, dict[str, str]]]:
        """All targets with their labels; read anew only where something changed."""
        frame = control.targets(self._reader)
        if self._targets is None or not self._targets[0].equals(frame):
            self._targets = (frame, _targets(frame))
        return self._targets[1]

    def _history(
        self, pool: Pool, targets: Sequence[Watched], now: datetime, is_first: bool
    ) -> tuple[float, ...]:
        """Requests a second before now, by window, as far as their rows are kept."""
        models, instances = models_and_instances(pool, targets)
        if not is_first or not (models or instances):
            return ()
        until = now - timedelta(seconds=self._lag)
        since = until - timedelta(seconds=HISTORY_SECONDS)
        return tuple(control.arrivals(self._reader, models, instances, since, until, self._window))

    def realised(
        self, pool: Pool, start: datetime, end: datetime
    ) -> tuple[int, float | None, float | None]:
        """What happened to the requests of a pool; see `controller.outcomes.Realised`."""
        watched = self._watched()
        mine = [one for one, labels in watched if matches(pool, labels)]
        models, instances = models_and_instances(pool, mine)
        if not models and not instances:
            return 0, None, None
        bounds = (pool.objective.ttft_seconds, pool.objective.tpot_seconds)
        return control.realised(self._reader, models, instances, bounds, start, end)

    def _pool(
        self, pool: Pool, targets: Sequence[Watched], scale: Scale | None, now: datetime
    ) -> tuple[PoolView, list[str]]:
        ids = [one.target_id for one in targets]
        fresh = max(3 * self._scrape, self._window) + 1.0
        fresh = min(fresh, float(pool.settings.stale_seconds))
        # A point that is just fresh still, and the window before it.
        back = timedelta(seconds=fresh + self._window + 2 * self._scrape)
        points = control.newest(self._reader, ids, now - back, now, self._window)
        told = told_by_target(points, fresh, self._scrape, self._window)
        tried = self._tried([one for one in ids if one not in told], now)
        alive = [one for one in targets if one.target_id in told or one.target_id in tried]
        rows = self._requests(pool, targets, now)
        reads = Reads(told, _expected_replicas(scale, alive), now, fresh)
        signals, notes = readings_of(reads, rows, self._window)
        signals = {name: self._aged(pool.name, name, one, now) for name, one in signals.items()}
        known = self._expecting.of(pool, _models(pool, targets), now)
        replicas = _replicas(alive, told, now)
        return _view(pool, scale, signals, replicas, known), notes

    def _tried(self, target_ids: Sequence[int], now: datetime) -> frozenset[int]:
        """Those of some targets that were asked lately, whatever they answered."""
        if not target_ids:
            return frozenset()
        rows = control.scraped(self._reader, target_ids, now - LEFT_OUT_AFTER, now)
        return frozenset(int(number) for number in rows["target_id"])

    def _requests(self, pool: Pool, targets: Sequence[Watched], now: datetime) -> dict[str, Any]:
        until = now - timedelta(seconds=self._lag)
        models, instances = models_and_instances(pool, targets)
        if not models and not instances:
            return {}
        times = tuple(
            until - timedelta(seconds=seconds)
            for seconds in (SIZES_SECONDS, LATENCY_SECONDS, self._window)
        )
        bounds = (pool.objective.ttft_seconds, pool.objective.tpot_seconds)
        return control.requests(
            self._reader, models, instances, bounds, (times[0], times[1], times[2], until)
        )

    def _aged(self, pool: str, name: str, one: Reading, now: datetime) -> Reading:
        """What was known last, where nothing is told any more."""
        key = (pool, name)
        if one.value is not None and one.grade in (Grade.FRESH, Grade.PARTIAL):
            self._last[key] = (one.value, now - timedelta(seconds=one.age_seconds or 0.0))
            return one
        if key not in self._last:
            return one
        value, at = self._last[key]
        kept = one.value if one.value is not None else value
        return Reading(kept, Grade.STALE, (now - at).total_seconds(), one.share)


def _targets(frame: pl.DataFrame) -> list[tuple[Watched, dict[str, str]]]:
    found = []
    for row in frame.iter_rows(named=True):
        name = instance_name(row["url"])
        labels = {key: str(value) for key, value in json.loads(row["labels"] or "{}").items()}
        labels |= {"instance": name, "url": row["url"]}
        for key in ("engine", "model"):
            if row[key]:
                labels[key] = row[key]
        one = Watched(row["target_id"], name, row["model"], row["added_at"])
        found.append((one, labels))
    return found


def matches(pool: Pool, labels: Mapping[str, str]) -> bool:
    """Whether a target with these labels is a replica of the pool."""
    return all(
        fnmatch.fnmatchcase(labels.get(key, ""), pattern)
        for key, pattern in pool.settings.match.items()
    )


def _models(pool: Pool, targets: Sequence[Watched]) -> list[str]:
    named = pool.settings.match.get("model", "")
    if named and "*" not in named and "?" not in named:
        return [named]
    return sorted({one.model for one in targets if one.model})


def models_and_instances(pool: Pool, targets: Sequence[Watched]) -> tuple[list[str], list[str]]:
    """By which labels the requests of a pool are found.

    A pool that is the whole of a model takes the model's requests, wherever they ran; another takes
    those of its instances.
    """
    if set(pool.settings.match) == {"model"}:
        return _models(pool, targets), []
    return [], sorted({one.instance for one in targets})


def _expected_replicas(scale: Scale | None, alive: Sequence[Watched]) -> int:
    """How many should have told something: what the platform calls ready, else what is watched."""
    if scale is not None and scale.ready is not None:
        return scale.ready
    return len(alive)


def _replicas(
    targets: Sequence[Watched], told: Mapping[int, Told], now: datetime
) -> tuple[ReplicaView, ...]:
    found = []
    for one in targets:
        age = max((now - one.added_at).total_seconds(), 0.0)
        mine = told.get(one.target_id)
        if mine is None:
            found.append(ReplicaView(one.instance, "starting", age))
            continue
        values = mine.values
        found.append(
            ReplicaView(
                one.instance, "ready", age, max(mine.age_seconds, 0.0),
                values.get("requests_running"), values.get("requests_waiting"),
                values.get("kv_cache_usage_ratio"),
            )
        )  # fmt: skip
    return tuple(found)


def _view(
    pool: Pool,
    scale: Scale | None,
    signals: Mapping[str, Reading],
    replicas: tuple[ReplicaView, ...],
    known: Expected,
) -> PoolView:
    told = sum(1 for one in replicas if one.state == "ready")
    ready = told if scale is None or scale.ready is None else scale.ready
    wanted = ready if scale is None or scale.wanted is None else scale.wanted
    starting = None if scale is None else scale.starting
    draining = None if scale is None else scale.draining
    return PoolView(
        pool.name,
        wanted,
        ready,
        max(wanted - ready, 0) if starting is None else starting,
        max(ready - wanted, 0) if draining is None else draining,
        pool.limits,
        signals,
        replicas,
        cast("Role", pool.settings.role),
        pool.profile,
        pool.startup or known.startup,
        known.forecasts,
    )


def blind(
    fleet: Fleet, scales: Mapping[str, Scale], at: float, scrape_seconds: float
) -> Observation:
    """What is known when the store cannot be read: the platforms' words alone."""
    pools = tuple(
        _view(pool, scales.get(pool.name), {}, (), Expected(None, ())) for pool in fleet.pools
    )
    return Observation(at, pools, fleet.objective, scrape_seconds)
