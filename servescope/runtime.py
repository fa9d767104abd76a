"""What a running process holds: one open store, one cache of views, the objectives in force.

API, dashboard and command line all ask `Runtime` for their numbers.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib import metadata
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol, TypeVar

from analysis import views
from analysis.cost_rules import CostRules
from analysis.measure import View
from analysis.slo_file import load_slo_file
from analysis.slo_model import Slo
from collector.discovery.follow import JobState
from collector.drops import Drops
from collector.scheduler import SchedulerCounts
from dashboard.services import DataAge
from servescope import own_numbers
from servescope.access.assembly import People
from servescope.access.caller import NOBODY, caller
from servescope.adapters import signal_sources
from servescope.alerting.service import Alerting
from servescope.clock_offsets import ClockOffsets
from servescope.config import Config
from servescope.config import rights as configured_rights
from servescope.controlling.service import Controlling
from servescope.gateway.child import GatewayChild
from servescope.grading import AgentGrades
from servescope.importing import ImportedRows
from servescope.jobs import JobRunner
from servescope.pace import AnswerTimes, LoopLag
from servescope.predicting.service import Predicting
from servescope.replaying.service import Replaying
from servescope.veil import Veil
from servescope.veils import Veils
from store.access import Rights
from store.cache import ViewCache
from store.clock import Clock
from store.database import Database
from store.errors import CollectError, ServescopeError
from store.queries import catalog, choices
from store.queries.scope import LABELS, LIVE_SOURCE_ID, Scope, SourceInfo, resolve

if TYPE_CHECKING:
    from controller.leases import Leases
    from servescope.chair.chair import Chair
    from servescope.reporting.service import Reporting

T = TypeVar("T")
SCOPE_NAMES = ("source", "from", "to", *LABELS)
SLO_FILE_CHECK_SECONDS = 2.0
CACHED_VIEWS = 512
SHARED_WORKS = 16
"""What several views need is larger than a view: courses of tenants take up to five megabytes."""
STALE_SECONDS = 60.0
LABELS_SECONDS = 30.0


class Collecting(Protocol):
    """Scrapes targets beside the requests."""

    async def add(self, url: str) -> str:
        """Scrape one more target; gives its normalised URL.

        Raises:
            CollectError: the URL cannot be one.
        """
        ...

    async def remove(self, url: str) -> str:
        """Stop scraping a target.

        Raises:
            CollectError: it is not scraped.
        """
        ...

    def counts(self) -> SchedulerCounts | None:
        """Totals since the start; None before it."""
        ...

    def discovered(self) -> tuple[JobState, ...]:
        """How the sources of discovery stand."""
        ...


@dataclass(frozen=True, slots=True)
class Beside:
    """What runs beside the requests of a server.

    Attributes:
        jobs: what the server does regularly.
        collecting: what scrapes targets.
        gateway: its child; None where the configuration names no engine for one.
    """

    jobs: JobRunner
    collecting: Collecting
    gateway: GatewayChild | None = None


class SloBook:
    """The objectives of a file that may change while the server runs.

    A file with mistakes keeps the last good objectives in force; `problem` says why.

    Args:
        path: the file; None means no objectives.
        clock: limits how often the file is looked at.
    """

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self.path = path
        self.problem: str | None = None
        self._clock = clock
        self._lock = Lock()
        self._slos: tuple[Slo, ...] = ()
        self._changed_at_ns: int | None = None
        self._checked_at: float | None = None
        self._keep: Callable[[Sequence[Slo]], None] | None = None

    def keep_history(self, keep: Callable[[Sequence[Slo]], None]) -> None:
        """Hand over the objectives in force, and from now on those of every reading of the file."""
        self._keep = keep
        keep(self._slos)

    def load(self) -> None:
        """Read the file now.

        Raises:
            ServescopeError: it cannot be read, or has mistakes.
        """
        if self.path is not None:
            slos = load_slo_file(self.path)
            self._slos, self.problem = slos, None
            self._changed_at_ns = self.path.stat().st_mtime_ns
            if self._keep is not None:
                self._keep(slos)

    def definitions(self) -> tuple[Slo, ...]:
        """The objectives in force; reads the file again when it has changed."""
        with self._lock:
            now = self._clock.monotonic()
            due = self._checked_at is None or now - self._checked_at >= SLO_FILE_CHECK_SECONDS
            if self.path is not None and due:
                self._checked_at = now
                self._refresh(self.path)
            return self._slos

    def _refresh(self, path: Path) -> None:
        try:
            if path.stat().st_mtime_ns != self._changed_at_ns:
                self.load()
        except (OSError, ServescopeError) as error:
            self.problem = str(error)


class Runtime:
    """One process's shared state.

    Args:
        config: settings.
        database: the open store.
        clock: the time.
        slos: the objectives.
        url: where the server answers; None in a command that opened the file itself.

    `beside` is set once jobs and scraping are started.
    """

    def __init__(
        self,
        config: Config,
        database: Database,
        clock: Clock,
        slos: SloBook,
        url: str | None = None,
    ) -> None:
        self.config = config
        self.database = database
        self.clock = clock
        self.slos = slos
        self.url = url
        # What all may do where nobody signs in.
        self.everybody = configured_rights(config)
        self.people = People(
            database, clock, config.access, config.oidc, config.server.public_url
        )  # fmt: skip
        self.pid = os.getpid()
        self.started_at = clock.now()
        self.version = metadata.version("servescope")
        self.cache = ViewCache(clock, CACHED_VIEWS)
        self.shared = ViewCache(clock, SHARED_WORKS)
        self.answers = AnswerTimes(clock)
        self.loop_lag = LoopLag(clock)
        self.imported = ImportedRows()
        self.drops = Drops()
        self.clocks = ClockOffsets()
        self.agent_grades = AgentGrades(database, clock, self.clocks)
        self.predicting = Predicting(database, clock, config.predict)
        self.controlling = Controlling(database, clock, config)
        self.replaying = Replaying(database, clock)
        self._reporting: Reporting | None = None
        self.beside: Beside | None = None
        self.leases: Leases | None = None
        self.has_begun = asyncio.Event()
        self.chair: Chair | None = None
        """Whose turn it is among the servers of a lake; None where there is one server."""
        self.veils = Veils(config.dashboard.tenant_names, database)
        kept = self.veils.kept
        self.alerting = Alerting(
            database, clock, config.alerts, slos.definitions,
            lambda: self.people.public_url or self.url,
            kept.of if kept else None, config.store.disk_reserve_bytes,
        )  # fmt: skip

    @property
    def rights(self) -> Rights:
        """What whoever asks now may do; both doors, API and pages, ask here."""
        who = caller()
        if who is not None:
            return who.rights
        return NOBODY.rights if self.config.access.sign_in == "on" else self.everybody

    @property
    def reporting(self) -> Reporting:
        """Scheduled reports; made when first asked for, so that commands do without.

        Raises:
            ConfigError: a channel is configured in a way that cannot work.
        """
        if self._reporting is None:
            from servescope.reporting.service import Reporting

            reports = self.config.reports
            reports = replace(reports, link=reports.link or self.config.server.public_url)
            self._reporting = Reporting(
                reports, self.database, self.clock, self.url, veil=self.veils.kept
            )
        return self._reporting

    @cached_property
    def costs(self) -> CostRules:
        """Prices and cards as configured."""
        return self.config.cost.rules(self.config.controller)

    def collecting(self) -> Collecting:
        """What scrapes targets.

        Raises:
            CollectError: this process scrapes nothing.
        """
        if self.beside is None:
            raise CollectError("this process scrapes no targets", hint="run `servescope up`")
        return self.beside.collecting

    @property
    def store_text(self) -> str:
        """Where the store is, for people."""
        return str(self.database.path.absolute()) if self.database.path else "in memory"

    def catalog(self) -> list[SourceInfo]:
        """All sources, shared for as long as nothing was written."""
        return self.cache.get(
            ("catalog",),
            lambda: catalog.sources(self.database.reader),
            ttl_seconds=min(1.0, self.config.server.view_ttl_seconds),
            version=self.database.writer.version(),
        )

    def now(self) -> datetime:
        """The current instant, rounded down so that viewers who ask together ask the same."""
        now = self.clock.now()
        step = self.config.server.view_ttl_seconds
        if step <= 0:
            return now
        return datetime.fromtimestamp(now.timestamp() // step * step, UTC)

    def scope(self, params: Mapping[str, str], *, shared: bool = True) -> Scope:
        """The scope that URL, API or CLI parameters mean; other names are ignored.

        Args:
            params: the parameters.
            shared: whether "now" is rounded, so that those who ask together share one answer;
                False for recorded rows, whose newest should not be missed.

        Raises:
            InputError: unknown source, sources of different clocks, bad time or empty range.
        """
        now = self.now() if shared else self.clock.now()
        known = self.veils.params(params)
        return resolve(known, self.catalog(), now)

    def view(
        self, name: str, params: Mapping[str, str], options: Mapping[str, str] | None = None
    ) -> View:
        """A view of the scope that `params` mean, computed once for all who ask meanwhile.

        Raises:
            InputError: unknown view, option or scope.
            QueryTimeout: it took too long.
        """
        spec = views.view_spec(name)
        scope = self.scope(params)
        slos = self.slos.definitions()
        given = {key: value for key, value in (options or {}).items() if value}
        given, veil = dict(self.veils.params(given)), self.veils.now
        self.answers.asked(name)
        return self.cache.get(
            (name, scope, tuple(sorted(given.items())), slos, veil is None),
            lambda: self._computed(name, scope, slos, given, veil),
            ttl_seconds=0.0 if spec.is_told else self.config.server.view_ttl_seconds,
            version=self._version_of(spec, scope),
        )

    def _computed(
        self, name: str, scope: Scope, slos: Sequence[Slo], options: Mapping[str, str],
        veil: Veil | None,
    ) -> View:  # fmt: skip
        """A view as it may be shown."""
        spec = views.view_spec(name)

        def sharing(key: str, make: Callable[[], T], *, is_told: bool = False) -> T:
            told = self.database.writer.told_version()
            return self.shared.get(
                (scope, key, veil is None),
                make,
                ttl_seconds=0.0 if is_told else self.config.server.view_ttl_seconds,
                version=told if is_told else self._version_of(spec, scope),
            )

        with self.answers.computing(name):
            found = views.compute(
                name,
                self.database.reader,
                scope,
                slos=slos,
                clock=self.clock,
                options=options,
                known=own_numbers.measures(self, name),
                known_frames=own_numbers.frames(self, name),
                adapters=signal_sources,
                named=veil.of if veil else None,
                costs=self.costs if name == "cost" else None,
                sharing=sharing,
            )
        if veil is None:
            return found
        return veil.view(found, is_named=spec.needs_names)

    def _version_of(self, spec: views.ViewSpec, scope: Scope) -> int | None:
        # What people change, and what is not of the scope, changes with anything that is written.
        if spec.is_told or not (spec.needs_scope or spec.needs_now):
            return self.database.writer.version()
        # Ages grow although nothing is written, so a view that is handed the time grows old.
        return None if spec.needs_now else self.data_version(scope)

    def data_age(self) -> DataAge:
        """Age of the newest live record and how many targets answer."""
        live = next((s for s in self.catalog() if s.source_id == LIVE_SOURCE_ID), None)
        interval = self.config.collector.scrape_interval_seconds
        since = self.now() - timedelta(seconds=3 * interval)
        fresh, total = self.cache.get(
            ("targets",),
            lambda: choices.target_freshness(self.database.reader, since),
            ttl_seconds=1.0,
        )
        stale_after = max(3 * interval, STALE_SECONDS)
        return DataAge(live.last_at if live else None, fresh, total, stale_after)

    def label_values(self, params: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
        """Values of model, tenant, route and instance to choose from, most frequent first."""
        chosen = {name: value for name, value in params.items() if name not in LABELS}
        scope = self.scope(chosen)
        veil = self.veils.now
        return self.cache.get(
            ("labels", scope, veil is None),
            lambda: self._labels(scope, veil),
            ttl_seconds=LABELS_SECONDS,
            version=self.data_version(scope),
        )

    def _labels(self, scope: Scope, veil: Veil | None) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = choices.label_values(self.database.reader, scope)
        if veil is not None:
            found["tenant"] = veil.names(found["tenant"])
        return found

    def data_version(self, scope: Scope) -> int:
        """A number that changes when the data of a scope may have: a trace only by imports."""
        if LIVE_SOURCE_ID in scope.source_ids or not scope.source_ids:
            return self.database.writer.version()
        return trace_version(self.catalog())


def trace_version(catalog: Sequence[SourceInfo]) -> int:
    """A number that changes when an import added something."""
    return hash(
        tuple((s.source_id, s.request_count, s.last_at) for s in catalog if s.kind == "trace")
    )


def scope_params(params: Mapping[str, str]) -> dict[str, str]:
    """Those of the parameters that say what is asked about."""
    return {name: params[name] for name in SCOPE_NAMES if params.get(name)}
