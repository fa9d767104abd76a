"""Which alerts there are, which silences hold, and what receivers know: as the store has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Lock

from analysis.alerts.grouping import Sent
from analysis.alerts.inhibition import inhibited
from analysis.alerts.machine import step
from analysis.alerts.matchers import Silence, covering
from analysis.alerts.model import Alert, Asked
from servescope.alerting.rows import alert_of, aware, change_row, silence_of, silence_row
from store import alerts as kept
from store.database import Database
from store.errors import InputError
from store.queries import alerts as queries

ENDED_KEPT = timedelta(days=1)
"""How long the end of an alert, or of a silence, can still be told."""


class Book:
    """What is known of alerts; every change is durable before anybody is told.

    Safe from any thread: changes take turns.

    Args:
        database: the store.
        most_open: alerts held at the same time.
    """

    def __init__(self, database: Database, most_open: int) -> None:
        self._database = database
        self._most_open = most_open
        self._lock = Lock()
        self.held: Mapping[str, Alert] = {}
        self.ended: dict[str, Alert] = {}
        self.silences: dict[str, Silence] = {}
        self.sent: dict[tuple[str, str], Sent] = {}
        self.left_out = 0
        self.asked_at: datetime | None = None

    def load(self, now: datetime) -> None:
        """Take up what the store has."""
        reader, at = self._database.reader, now.replace(tzinfo=None)
        opened = queries.opened(reader).iter_rows(named=True)
        self.held = {row["fingerprint"]: alert_of(row) for row in opened}
        over = queries.resolved(reader, at - ENDED_KEPT).iter_rows(named=True)
        self.ended = {alert.episode: alert for alert in map(alert_of, over)}
        rows = queries.silences(reader, at - ENDED_KEPT).iter_rows(named=True)
        self.silences = {row["silence_id"]: silence_of(row) for row in rows}
        self.sent = {
            (row["receiver"], row["group_key"]): Sent(
                aware(row["sent_at"]), frozenset(row["known"])
            )
            for row in queries.known(reader).iter_rows(named=True)
        }

    def take(self, asked: Mapping[str, Asked], now: datetime) -> list[Alert]:
        """What the rules say; gives the changes, which are durable by then."""
        with self._lock:
            held, changes = step(self.held, asked, now)
            held, changes = self._bounded(held, changes)
            if changes:
                rows = [change_row(alert) for alert in changes]
                kept.keep_changes(self._database.writer, rows).result()
            self.held, self.asked_at = held, now
            self._end(changes, now)
        return changes

    def muted(self, now: datetime) -> dict[str, str]:
        """Fingerprint -> why nobody is told of an alert that fires: a silence, or another alert."""
        held = list(self.held.values())
        found = {
            key: f"explained by {source.rule} ({source.fingerprint[:8]})"
            for key, source in inhibited(held).items()
        }
        silences = list(self.silences.values())
        for alert in held:
            silence = covering(silences, alert.labels, now)
            if silence is not None:
                found[alert.fingerprint] = f"silenced by {silence.created_by}: {silence.comment}"
        return found

    def silence(self, silences: Sequence[Silence], now: datetime, by: str) -> None:
        """Keep silences, new or changed."""
        with self._lock:
            rows = [silence_row(one, now, by) for one in silences]
            kept.keep_silences(self._database.writer, rows).result()
            self.silences |= {one.silence_id: one for one in silences}

    def unsilence(self, silence_id: str, now: datetime, by: str) -> Silence:
        """End a silence now.

        Raises:
            InputError: there is none, it is over, or it is another program's.
        """
        found = self.silences.get(silence_id)
        if found is None or found.ends_at <= now:
            raise InputError(
                f"no silence '{silence_id}' holds", hint="see `servescope alerts list`"
            )
        if found.origin:
            raise InputError(f"this silence was made in {found.origin}", hint="end it there")
        # One that has not begun ends where it would begin, so that it never holds.
        over = replace(found, starts_at=min(found.starts_at, now), ends_at=now)
        self.silence([over], now, by)
        return over

    def told(self, receiver: str, group: str, sent: Sent) -> None:
        """A receiver knows now."""
        self.sent[receiver, group] = sent

    def _bounded(
        self, held: dict[str, Alert], changes: list[Alert]
    ) -> tuple[dict[str, Alert], list[Alert]]:
        """No more than the most that may be held; those that were there first stay."""
        excess = len(held) - self._most_open
        if excess <= 0:
            return held, changes
        new = [key for key in held if key not in self.held][-excess:]
        self.left_out += len(new)
        kept_alerts = {key: alert for key, alert in held.items() if key not in set(new)}
        return kept_alerts, [alert for alert in changes if alert.fingerprint not in set(new)]

    def _end(self, changes: Iterable[Alert], now: datetime) -> None:
        self.ended |= {alert.episode: alert for alert in changes if alert.state == "resolved"}
        too_old = now - ENDED_KEPT
        self.ended = {name: one for name, one in self.ended.items() if one.changed_at >= too_old}
        self.silences = {name: one for name, one in self.silences.items() if one.ends_at >= too_old}
