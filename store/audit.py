"""The record of what people and programs changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from store.writer import Writer


@dataclass(frozen=True, slots=True)
class Change:
    """Something that somebody changed.

    Attributes:
        actor: who: "cli", "api", "schedule".
        action: what was done, like "predictors.promote".
        subject: to what.
        before: how it was; None when it was not there.
        after: how it is.
        origin: through which door.
        comment: why, in the words of who did it.
    """

    actor: str
    action: str
    subject: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    origin: str
    comment: str | None = None


def note(writer: Writer, at: datetime, change: Change) -> Future[None]:
    """Keep a change.

    Args:
        writer: the store's writer.
        at: aware UTC.
        change: what was done.
    """

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(
            "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                *(at.replace(tzinfo=None), change.actor, change.action, change.subject),
                *(_text(change.before), _text(change.after), change.origin, change.comment),
            ],
        )

    return writer.run(work)


def _text(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(dict(value), default=str)
