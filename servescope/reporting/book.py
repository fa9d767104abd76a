"""Schedules in force: those of servescope.toml and those that were added while the server ran.

Both are rows: the file's are compared with them at every start, so that it is known since when a
schedule is what it is, and a new one is not due for what was before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from servescope.reporting import definition as definitions
from servescope.reporting.channels.base import Channel
from servescope.reporting.channels.email import Mailbox
from servescope.reporting.definition import Definition
from servescope.veil import Veil
from store import audit, reports
from store.clock import Clock
from store.database import Database
from store.errors import ConfigError, InputError, ServescopeError
from store.nearest import nearest_hint
from store.queries import reports as queries

FILE: reports.Place = "file"
STORE: reports.Place = "store"
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A schedule and how it stands.

    Attributes:
        definition: what it is.
        place: "file" or "store".
        is_on: whether it is at work.
        why_off: why it is not; empty when it is.
        since: what was due before does not count (aware UTC).
    """

    definition: Definition
    place: reports.Place
    is_on: bool
    why_off: str
    since: datetime


class Book:
    """Schedules by name.

    Args:
        tables: of the file.
        channels: there are.
        templates: checks that a template can be scheduled; raises InputError.
        database: keeps the others.
        clock: stamps.
        most: schedules that may be added.
        veil: hides the names of tenants; None shows them.
    """

    def __init__(
        self,
        tables: Sequence[Mapping[str, Any]],
        channels: Mapping[str, Channel],
        templates: Any,
        database: Database,
        clock: Clock,
        most: int,
        veil: Veil | None = None,
    ) -> None:
        self._channels, self._templates = channels, templates
        self._database, self._clock, self._most = database, clock, most
        self._veil = veil
        self._tables = tables
        self._known: list[Scheduled] | None = None

    def written(self) -> dict[str, Definition]:
        """Those of the file.

        Raises:
            ConfigError: one of them cannot work; the message names it.
        """
        found: dict[str, Definition] = {}
        for table in self._tables:
            try:
                one = self._hidden(self._fitting(table))
            except InputError as error:
                raise ConfigError(error.message, where=error.where, hint=error.hint) from error
            if one.name in found:
                raise ConfigError("two schedules have this name", where=f"reports.{one.name}")
            found[one.name] = one
        return found

    def kept(self, document: Mapping[str, Any]) -> Definition:
        """Read what was kept of a schedule or a run.

        Raises:
            InputError: it makes no sense any more.
        """
        return self._hidden(definitions.read(document))

    def checked(self, table: Mapping[str, Any]) -> Definition:
        """Read a schedule; its template, channels and recipients are there and fit.

        Raises:
            InputError: something of it does not, or it names a tenant where names are hidden.
        """
        found = self._fitting(table)
        if self._veil is not None:
            self._veil.params(found.scope)
        return found

    def _fitting(self, table: Mapping[str, Any]) -> Definition:
        found = definitions.read(table)
        where = f"report schedule {found.name}"
        try:
            self._templates(found.template)
            for name in found.channels:
                self.channel(name)
            self._check_recipients(found)
        except InputError as error:
            raise InputError(error.message, where=where, hint=error.hint) from error
        return found

    def _hidden(self, found: Definition) -> Definition:
        """With pseudonyms for names of tenants, where names are hidden."""
        return found if self._veil is None else replace(found, scope=self._veil.scope(found.scope))

    def channel(self, name: str) -> Channel:
        """A channel by name.

        Raises:
            InputError: there is none; the hint names the nearest.
        """
        if name in self._channels:
            return self._channels[name]
        hint = (
            nearest_hint(name, list(self._channels), lists_all=True)
            if self._channels
            else "write [[reports.channel]] into servescope.toml: docs/reports.md has examples"
        )
        raise InputError(f"there is no channel '{name[:60]}'", hint=hint)

    def _check_recipients(self, found: Definition) -> None:
        boxes = [self._channels[name] for name in found.channels]
        letters = [box for box in boxes if isinstance(box, Mailbox)]
        if found.recipients and not letters:
            raise InputError("recipients need a channel of kind email", hint="name one in channels")
        for box in letters:
            box.check(found.recipients)
            if not (found.recipients or box.to):
                raise InputError(f"the channel {box.name} has no `to`", hint="name recipients")

    def keep_written(self) -> None:
        """Note what the file says now, where it is not what it said before."""
        written = self.written()
        known = {
            row["name"]: json.loads(row["definition"])
            for row in queries.schedules(self._database.reader, every=True).iter_rows(named=True)
            if row["place"] == FILE
        }
        told = [
            reports.Told(name, FILE, "set", FILE, one.document())
            for name, one in written.items()
            if known.get(name) != one.document()
        ]
        told += [reports.Told(name, FILE, "removed", FILE) for name in known if name not in written]
        if told:
            reports.tell(self._database.writer, self._clock.now(), told).result()
        self._known = None

    def in_force(self) -> list[Scheduled]:
        """All that can be read, by name; one in the file wins over one that was added."""
        known = self._known
        if known is None:
            rows = queries.schedules(self._database.reader).iter_rows(named=True)
            known = [found for row in rows if (found := self._scheduled(row)) is not None]
            self._known = known
        return list(known)

    def one(self, name: str) -> Scheduled:
        """A schedule by name.

        Raises:
            InputError: there is none; the hint names the nearest.
        """
        found = {one.definition.name: one for one in self.in_force()}
        if name in found:
            return found[name]
        hint = (
            nearest_hint(name, list(found), lists_all=True)
            if found
            else "`servescope report schedule add` makes one"
        )
        raise InputError(f"there is no report schedule '{name[:60]}'", hint=hint)

    def add(self, table: Mapping[str, Any], by: str, *, may_replace: bool) -> Scheduled:
        """Add a schedule, or change one that was added.

        Raises:
            InputError: it cannot work, or its name is taken.
        """
        found = self.addable(table, may_replace=may_replace)
        there = {one.definition.name: one for one in self.in_force()}.get(found.name)
        told = reports.Told(found.name, STORE, "set", by, found.document())
        before = None if there is None else there.definition.document()
        self._tell([told], "reports.schedule.set", before, found.document())
        return self.one(found.name)

    def addable(self, table: Mapping[str, Any], *, may_replace: bool) -> Definition:
        """Read a schedule and see whether it could be added.

        Raises:
            InputError: it cannot work, or its name is taken.
        """
        found = self.checked(table)
        known = {one.definition.name: one for one in self.in_force()}
        there = known.get(found.name)
        if there is not None and there.place == FILE:
            raise InputError(
                f"servescope.toml has a schedule '{found.name}', and what is written there wins",
                hint="change it there, or take another name",
            )
        if there is not None and not may_replace:
            raise InputError(
                f"there is a schedule '{found.name}' already", hint="--replace does it"
            )
        if there is None and len(known) >= self._most:
            raise InputError(f"{self._most} schedules are there already", hint="remove one first")
        return found

    def remove(self, name: str, by: str) -> None:
        """Remove a schedule that was added; what it made stays.

        Raises:
            InputError: there is none, or it stands in the file.
        """
        there = self.one(name)
        if there.place == FILE:
            raise InputError(f"'{name}' stands in servescope.toml", hint="remove it there")
        told = [reports.Told(name, STORE, "removed", by), reports.Told(name, STORE, "enabled", by)]
        self._tell(told, "reports.schedule.remove", there.definition.document(), None)

    def switch(self, name: str, by: str, *, on: bool) -> Scheduled:
        """Let a schedule rest, or work again; what it missed meanwhile is not made up for.

        Raises:
            InputError: there is none, or the file lets it rest.
        """
        there = self.one(name)
        if on and not there.definition.enabled:
            raise InputError(
                f"'{name}' is written with enabled = false", hint="change it where it is written"
            )
        if on != there.is_on:
            kind = "enabled" if on else "disabled"
            told = reports.Told(name, there.place, kind, by)
            self._tell([told], f"reports.schedule.{kind}", {"is_on": there.is_on}, {"is_on": on})
        return self.one(name)

    def _tell(
        self, told: Sequence[reports.Told], action: str, before: Row | None, after: Row | None
    ) -> None:
        writer, now = self._database.writer, self._clock.now()
        reports.tell(writer, now, told).result()
        self._known = None  # nobody else writes these rows
        change = audit.Change(told[0].by, action, told[0].name, before, after, told[0].by)
        audit.note(writer, now, change).result()

    def _scheduled(self, row: Row) -> Scheduled | None:
        try:
            found = self.kept(json.loads(row["definition"]))
        except ServescopeError:
            return None
        why = row["why_off"]
        return Scheduled(found, row["place"], not why, why, self._since(found.name, row["place"]))

    def _since(self, name: str, place: str) -> datetime:
        """Since when it is due at the times at which it is due now."""
        told = queries.history(self._database.reader, name, place).iter_rows(named=True)
        since, known, is_on = self._clock.now(), None, True
        for row in told:
            said = json.loads(row["definition"]) if row["definition"] else None
            begins = row["kind"] == "enabled" and not is_on
            if row["kind"] == "set" and said is not None:
                begins = known is None or definitions.changes_time(known, said)
                known = said
            elif row["kind"] == "removed":
                known = None
            is_on = row["kind"] != "disabled" if row["kind"] in ("enabled", "disabled") else is_on
            since = row["changed_at"].replace(tzinfo=UTC) if begins else since
        return since
