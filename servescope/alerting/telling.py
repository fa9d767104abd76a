"""What all who tell a receiver have in common: what was sent is kept, what failed is shown."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from analysis.alerts.message import Places
from analysis.alerts.model import Alert
from servescope.alerting.book import Book
from servescope.alerting.receivers import Door
from servescope.alerting.settings import AlertSettings, Receiver
from store import alerts as kept
from store.alerts import NotificationRow
from store.clock import Clock
from store.writer import Writer


@dataclass(frozen=True, slots=True)
class Office:
    """What all tellers of a server work with.

    Attributes:
        settings: of all receivers.
        book: what there is to tell.
        places: for links; asked each time, since the address is known late.
        writer: keeps what was told.
        clock: the time.
        counts: (receiver, outcome) -> how often.
    """

    settings: AlertSettings
    book: Book
    places: Callable[[], Places]
    writer: Writer
    clock: Clock
    counts: Counter[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Attempt:
    """How telling a receiver went.

    Attributes:
        at: when it was over.
        group: key of the group; "" where a receiver groups by itself.
        number: how often in a row, from 1.
        known: episodes that the receiver knows to fire, once it was told.
        firing: alerts that were told to fire.
        resolved: alerts that were told to be over.
        seconds: how long it took.
        error: why it was not told; None when it was.
    """

    at: datetime
    group: str
    number: int
    known: frozenset[str]
    firing: int
    resolved: int
    seconds: float
    error: str | None


class Teller(ABC):
    """Tells one receiver.

    Args:
        office: what all of them work with.
        receiver: this one.
    """

    def __init__(self, office: Office, receiver: Receiver) -> None:
        self.office, self.receiver = office, receiver
        self.door = Door(receiver, office.settings.send_limit_seconds)
        self.problem: str | None = None
        self._matchers = receiver.matchers()

    @abstractmethod
    async def tell(self) -> None:
        """Send what is due; what fails is noted, never raised."""

    def fitting(self, alerts: Iterable[Alert]) -> list[Alert]:
        """Those that this receiver wants."""
        return [
            alert
            for alert in alerts
            if all(matcher.matches(alert.labels) for matcher in self._matchers)
        ]

    def count(self, error: str | None) -> None:
        """One more that was told, or was not."""
        self.problem = error
        self.office.counts[self.receiver.name, _outcome(error)] += 1

    async def keep(self, made: Attempt) -> None:
        """Keep a row of it."""
        row = NotificationRow(
            made.at, self.receiver.name, made.group, _outcome(made.error), made.number,
            sorted(made.known), made.firing, made.resolved, made.seconds, made.error,
        )  # fmt: skip
        await asyncio.wrap_future(kept.keep_notifications(self.office.writer, [row]))


def _outcome(error: str | None) -> str:
    return "failed" if error else "sent"
