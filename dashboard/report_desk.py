"""What a page can tell about scheduled reports, and what it asks beside the view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Document = Mapping[str, Any]


class ReportDesk(Protocol):
    """Schedules, runs and channels; documents of the REST API under /reports.

    Changes raise a `ServescopeError` that says what is wrong.
    """

    def choices(self) -> Mapping[str, Sequence[Any]]:
        """What a schedule may name: `templates`, `formats`, `channels` (name, kind, place)."""
        ...

    def definition(self, name: str) -> Document | None:
        """A schedule as it is written and where (`place`: file, store); None without one."""
        ...

    def save(self, table: Document, by: str, *, may_replace: bool) -> Document:
        """Add a schedule, or change one that was added."""
        ...

    def remove(self, name: str, by: str) -> None:
        """Remove one that was added."""
        ...

    def switch(self, name: str, by: str, *, on: bool) -> Document:
        """Let one rest, or work again."""
        ...

    def run(self, name: str, by: str, period: str, *, send: bool) -> Document:
        """Ask for the report of a period; "" is the newest that is over."""
        ...

    def test(self, name: str, by: str, channel: str, to: Sequence[str]) -> Document:
        """Ask for the newest report to be sent to one channel, marked as a test."""
        ...
