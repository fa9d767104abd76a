"""What people change through doors that keep no record of their own, for the record of changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servescope.access.caller import recorded
from store import audit
from store.clock import Clock
from store.database import Database


def noted(
    database: Database, clock: Clock, action: str, subject: str,
    after: Mapping[str, Any] | None = None, *, by: str = "api", origin: str = "api",
    comment: str | None = None,
) -> None:  # fmt: skip
    """Keep that whoever asks has done something; waits until it is kept.

    Args:
        database: the open store.
        clock: stamps.
        action: what was done, such as "targets.watch".
        subject: to what.
        after: how it is now.
        by: who, where nobody signs in.
        origin: through which door.
        comment: why, in the words of who did it.

    Raises:
        StoreError: it cannot be kept.
    """
    change = audit.Change(recorded(by), action, subject[:500], None, after, origin, comment)
    audit.note(database.writer, clock.now(), change).result()
