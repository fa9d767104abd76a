"""What pages are handed of scheduled reports: told and asked from any thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.reports import template
from servescope.documents import plain
from servescope.reporting import answers
from servescope.reporting.definition import FORMS
from store.errors import InputError

if TYPE_CHECKING:
    from servescope.runtime import Runtime


class ReportDesk:
    """Scheduled reports of a server.

    Args:
        runtime: the server's state.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def choices(self) -> Mapping[str, Sequence[Any]]:
        """What a schedule may name."""
        told = self._runtime.reporting.settings.templates
        known = template.names(Path(told).expanduser() if told else None)
        return {
            "templates": tuple(name for name in known if name != "incident"),
            "formats": FORMS,
            "channels": answers.channel_documents(self._runtime),
        }

    def definition(self, name: str) -> Mapping[str, Any] | None:
        """A schedule as it is written and in which `place`; None when there is none."""
        try:
            found = self._runtime.reporting.book.one(name)
        except InputError:
            return None
        return {**found.definition.document(), "place": found.place}

    def save(self, table: Mapping[str, Any], by: str, *, may_replace: bool) -> Mapping[str, Any]:
        """Add a schedule, or change one that was added."""
        made = self._runtime.reporting.book.add(table, by, may_replace=may_replace)
        self._runtime.reporting.wake()
        return self._one(made.definition.name)

    def remove(self, name: str, by: str) -> None:
        """Remove one that was added."""
        self._runtime.reporting.book.remove(name, by)

    def switch(self, name: str, by: str, *, on: bool) -> Mapping[str, Any]:
        """Let one rest, or work again."""
        self._runtime.reporting.book.switch(name, by, on=on)
        return self._one(name)

    def run(self, name: str, by: str, period: str, *, send: bool) -> Mapping[str, Any]:
        """Ask for the report of a period; "" is the newest that is over."""
        return answers.run_now(self._runtime, name, by, period=period, send=send)

    def test(self, name: str, by: str, channel: str, to: Sequence[str]) -> Mapping[str, Any]:
        """Ask for the newest report to be sent to one channel, marked as a test."""
        return answers.send_test(self._runtime, name, by, channel=channel, to=to)

    def _one(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = plain(answers.one(self._runtime, name))
        return found
