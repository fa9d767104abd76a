"""Scheduled reports of a server: what is due is made, sent, and its outcome kept.

Every step is a row before the next one begins. A process that ends in between loses nothing: the
next one goes on where the rows end, and resends only what nobody acknowledged.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from threading import Condition, Event, Lock, Thread
from typing import Any

import polars as pl

from analysis.reports.sections import SECTIONS
from analysis.reports.template import Template, find
from servescope.reporting.book import Book, Scheduled
from servescope.reporting.channels.registry import channels
from servescope.reporting.due import due
from servescope.reporting.rows import details_of, runs
from servescope.reporting.sending import Sending, Standing, outcome
from servescope.reporting.settings import ReportsSettings
from servescope.reporting.shelf import Shelf
from servescope.reporting.workshop import Maker, NotMade, Order, Workshop
from servescope.veil import Veil
from store import reports
from store.append import EVENT_FRAME
from store.clock import Clock
from store.database import Database
from store.errors import InputError
from store.queries import reports as queries
from store.queries.scope import LIVE_SOURCE_ID

log = logging.getLogger("servescope.reporting")

LONGEST_PAUSE_SECONDS = 20.0
CLOSE_SECONDS = 10.0
SCHEDULE, TEST = "schedule", "test"
FINISH_SECONDS = 60.0
Run = Mapping[str, Any]


class Reporting:
    """One server's scheduled reports. Safe from any thread.

    Args:
        settings: schedules, channels, limits.
        database: the store.
        clock: what is due, and stamps.
        url: where this server answers.
        maker: makes reports; None has them made by processes of their own.
        veil: hides the names of tenants; None shows them.

    Raises:
        ConfigError: a channel cannot work.
    """

    def __init__(
        self,
        settings: ReportsSettings,
        database: Database,
        clock: Clock,
        url: str | None,
        maker: Maker | None = None,
        veil: Veil | None = None,
    ) -> None:
        self.settings, self._database, self._clock = settings, database, clock
        self.channels = channels(settings.channel, clock)
        self.book = Book(
            settings.schedule, self.channels, self.template, database, clock,
            settings.most_schedules, veil,
        )  # fmt: skip
        self.shelf = Shelf(_folder(database))
        root = settings.link or url or ""
        self.sending = Sending(self.channels, settings, self.shelf, root, database, clock)
        self.maker: Maker = maker or Workshop(url, settings, database.path)
        self._changed, self._turning = Condition(), Lock()
        self.stop = Event()
        self._thread: Thread | None = None
        self._has_news = False
        self._claimed: dict[str, str] = {}

    def prepare(self) -> None:
        """Check what is configured, before anything starts.

        Raises:
            ConfigError: a schedule cannot work.
        """
        self.book.written()

    def start(self) -> None:
        """Note what is configured, and begin."""
        self.shelf.start()
        self.book.keep_written()
        self._thread = Thread(target=self._work, name="reporting", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; what is not done goes on with the next process. Safe twice and without start."""
        with self._changed:
            self.stop.set()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
        self.shelf.close()

    def wake(self) -> None:
        """Look now at what is to do."""
        with self._changed:
            self._has_news = True
            self._changed.notify_all()

    def template(self, name: str) -> Template:
        """A template that can be scheduled.

        Raises:
            InputError: there is none, or its reports are of no calendar period.
        """
        folder = Path(self.settings.templates).expanduser() if self.settings.templates else None
        found = find(name, folder, list(SECTIONS))
        if found.kind == "incident":
            raise InputError(
                "an incident report is of two times that somebody names, so it is never due",
                hint="take a daily, weekly or monthly template",
            )
        return found

    def turn(self) -> None:
        """Do everything that is to do now, once."""
        with self._turning:
            for scheduled in self.book.in_force():
                if scheduled.is_on and not self.stop.is_set():
                    self._claim(scheduled)
            for run in reversed(self.open_runs()):
                if not self.stop.is_set():
                    self._advance(run)

    def open_runs(self) -> list[dict[str, Any]]:
        """Those that something still follows, newest first."""
        if not queries.has_open(self._database.reader):
            return []
        return runs(queries.runs(self._database.reader, only_open=True))

    def run(self, run_id: str) -> dict[str, Any]:
        """One run.

        Raises:
            InputError: there is none.
        """
        found = runs(queries.runs(self._database.reader, run=run_id))
        if not found:
            raise InputError(f"there is no report run '{run_id[:120]}'", hint="GET /api/v1/reports")
        return found[0]

    def forget(self) -> Mapping[str, Any] | None:
        """Delete what is older, or more, than is kept; details or None."""
        days = self.settings.retention_days
        rows = 0
        if days is not None:
            before = self._clock.now() - timedelta(days=days)
            rows = reports.delete_old(self._database.writer, before)
        needed = {run["run_id"] for run in self.open_runs()}
        gone = self.shelf.forget(self.settings.most_kept, self.settings.most_kept_bytes, needed)
        return {"runs": rows, "folders": gone} if rows or gone else None

    def stand(
        self, run: Run, state: str, text: str | None, details: Mapping[str, Any] | None = None
    ) -> None:
        """Keep how a run stands; a failure is an event, too, so that somebody is told."""
        if state == "failed" and run["cause"] != TEST:  # who tests sees the answer
            self._alert(run, text or "")
        at = self._clock.now()
        reports.stand(self._database.writer, run["run_id"], at, state, text, details).result()
        about = {"run": run["run_id"], "state": state, "text": text}
        log.info("report_state", extra=about)
        with self._changed:
            self._changed.notify_all()

    def make(self, run: Run) -> Mapping[str, Any]:
        """Make a run's files and put them in their place; gives what they are.

        Raises:
            NotMade: it cannot be made.
        """
        order = Order(self.book.kept(run["definition"]), run["period"])
        with self.shelf.draft() as draft:
            manifest = self.maker(order, draft, self.stop)
            if manifest["outcome"] == "made":
                self.shelf.keep(run["run_id"], draft)
        return manifest

    def finish(self, run_id: str) -> dict[str, Any]:
        """Wait until a run has its outcome, or for as long as a report may take; gives the run."""
        if self._thread is None:
            self.turn()
            return self.run(run_id)
        limit = self.settings.limit_seconds + FINISH_SECONDS
        with self._changed:
            self._changed.wait_for(lambda: self.stop.is_set() or self._is_done(run_id), limit)
        return self.run(run_id)

    def _is_done(self, run_id: str) -> bool:
        return self.run(run_id)["state"] not in reports.OPEN_STATES

    def _claim(self, scheduled: Scheduled) -> None:
        name = scheduled.definition.name
        try:
            kind = self.template(scheduled.definition.template).kind
            found = due(
                scheduled, kind, self._clock.now(),
                lambda period: self._is_claimed(name, period),
            )  # fmt: skip
        except InputError as error:  # such as a template that was taken away
            log.warning("report_schedule_broken", extra={"schedule": name, "why": str(error)})
            return
        if found is not None:
            cause = "late" if found.is_late else "due"
            run = reports.Run(
                name, found.period.key, cause, SCHEDULE, self._clock.now(), found.due_at,
                scheduled.definition.document(), scheduled.definition.channels, found.text,
            )  # fmt: skip
            reports.claim(self._database.writer, run).result()

    def _is_claimed(self, name: str, period: str) -> bool:
        """Asked again and again for the same period, which no other process claims."""
        if self._claimed.get(name) != period:
            if not queries.is_claimed(self._database.reader, name, period):
                return False
            self._claimed[name] = period
        return True

    def _advance(self, run: Run) -> None:
        """One run as far as it goes now."""
        manifest = self.shelf.manifest(run["run_id"]) if run["state"] == "sending" else None
        if manifest is None:
            self.stand(run, "making", run["text"])
            try:
                manifest = self.make(run)
            except NotMade as error:
                if not self.stop.is_set():
                    self._end(run, "failed", f"failed: {error}")
                return
            if manifest["outcome"] != "made":
                self._end(run, "skipped", f"skipped: {manifest['reason']}")
                return
            self.stand(run, "sending", run["text"], details_of(manifest))
        found = self.sending.advance(run, may_repeat=run["cause"] != TEST)
        if all(one.is_done for one in found):
            self._end(run, *outcome(found, manifest), details_of(manifest))

    def _end(
        self, run: Run, state: str, text: str, details: Mapping[str, Any] | None = None
    ) -> None:
        late = f" ({run['text']})" if run["cause"] == "late" and run["text"] else ""
        self.stand(run, state, f"{text}{late}", details)

    def _alert(self, run: Run, text: str) -> None:
        """Rows of `event` are what alerts are made of."""
        at = self._clock.now().replace(tzinfo=None)
        row = {
            "event_id": f"report_failed:{run['run_id']}", "source_id": LIVE_SOURCE_ID,
            "started_at": at, "ended_at": at, "kind": "report_failed", "subject": run["schedule"],
            "text": f"report {run['schedule']} for {run['period']} {text}",
            "details": json.dumps({"run_id": run["run_id"]}),
        }  # fmt: skip
        frame = pl.DataFrame([row], schema=dict(EVENT_FRAME))
        self._database.writer.append("event", frame).result()

    def _work(self) -> None:
        while not self.stop.is_set():
            pause = LONGEST_PAUSE_SECONDS
            try:
                self.turn()
                pause = self._pause()
            except Exception:  # one of the loops that record and go on
                log.warning("reporting_failed", exc_info=True)
            with self._changed:
                self._changed.wait_for(lambda: self.stop.is_set() or self._has_news, pause)
                self._has_news = False

    def _pause(self) -> float:
        """Seconds until the next thing is to do, as far as that is known now."""
        now = self._clock.now()
        times = [
            scheduled.definition.timetable().next_after(now)
            for scheduled in self.book.in_force()
            if scheduled.is_on
        ]
        times += [at for run in self.open_runs() for at in _waits(self.sending.standings(run))]
        nearest = min((max(0.0, (at - now).total_seconds()) for at in times), default=None)
        return LONGEST_PAUSE_SECONDS if nearest is None else min(nearest, LONGEST_PAUSE_SECONDS)


def _waits(found: Sequence[Standing]) -> list[datetime]:
    return [one.next_at for one in found if not one.is_done and one.next_at is not None]


def _folder(database: Database) -> Path | None:
    path = database.path
    return None if path is None else path.with_name(f"{path.name}.reports")
