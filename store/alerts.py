"""What is kept of alerts: changes, silences, words to receivers; rows are only ever added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import orjson

from store.writer import Writer

Connection = duckdb.DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """An alert that came into a state; times are aware UTC."""

    changed_at: datetime
    fingerprint: str
    rule: str
    severity: str
    state: str
    active_at: datetime
    fired_at: datetime | None
    labels: Mapping[str, str]
    value: float | None
    summary: str
    page: str
    params: Mapping[str, str]
    back_seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class SilenceRow:
    """A silence as it was made or changed; times are aware UTC, matchers as Alertmanager's."""

    changed_at: datetime
    changed_by: str
    silence_id: str
    starts_at: datetime
    ends_at: datetime
    matchers: Sequence[Mapping[str, Any]]
    created_by: str
    comment: str
    origin: str


@dataclass(frozen=True, slots=True)
class NotificationRow:
    """A word to a receiver; `known` are the episodes that it believes to fire afterwards."""

    sent_at: datetime
    receiver: str
    group_key: str
    outcome: str
    attempt: int
    known: Sequence[str]
    firing: int
    resolved: int
    seconds: float | None
    error: str | None


def keep_changes(writer: Writer, rows: Sequence[ChangeRow]) -> Future[None]:
    """Add changes in one transaction."""
    return writer.run(lambda connection: _add(connection, "alert_change", "change_id", rows))


def keep_silences(writer: Writer, rows: Sequence[SilenceRow]) -> Future[None]:
    """Add silences, new or changed, in one transaction."""
    return writer.run(lambda connection: _add(connection, "alert_silence", "version", rows))


def keep_notifications(writer: Writer, rows: Sequence[NotificationRow]) -> Future[None]:
    """Add what receivers were told."""
    return writer.run(
        lambda connection: _add(connection, "alert_notification", "notification_id", rows)
    )


def delete_old(writer: Writer, before: datetime) -> Future[int]:
    """Forget what is over since before a time (aware UTC); gives the rows that went.

    The newest row of each alert that is still open stays, and so does what was told of last.
    """
    at = before.replace(tzinfo=None)

    def work(connection: Connection) -> int:
        return sum(connection.execute(text, [at]).fetchall()[0][0] for text in _FORGET)

    return writer.run(work)


_FORGET = (
    """DELETE FROM alert_change WHERE changed_at < ? AND change_id NOT IN (
    SELECT max(change_id) FROM alert_change GROUP BY fingerprint
    HAVING arg_max(state, change_id) IN ('pending', 'firing'))""",
    """DELETE FROM alert_silence WHERE ends_at < ?""",
    """DELETE FROM alert_notification WHERE sent_at < ? AND notification_id NOT IN (
    SELECT max(notification_id) FROM alert_notification WHERE outcome = 'sent'
    GROUP BY receiver, group_key HAVING len(arg_max(known, notification_id)) > 0)""",
)


def _add(connection: Connection, table: str, number: str, rows: Sequence[Any]) -> None:
    """A few rows at a time: alerts change seldom."""
    for row in rows:
        names = row.__slots__
        marks = ", ".join(f"${name}" for name in names)
        connection.execute(
            f"INSERT INTO {table} ({number}, {', '.join(names)})"
            f" SELECT coalesce(max({number}), 0) + 1, {marks} FROM {table}",
            {name: _value(getattr(row, name), name) for name in names},
        )


def _value(value: Any, name: str) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if name in ("labels", "params", "matchers"):
        return orjson.dumps(value).decode()
    return list(value) if isinstance(value, tuple | frozenset) else value
