"""Tells a webhook: one message a group, again after a while, and once more when it failed."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import datetime

from analysis.alerts.grouping import Notice, Sent, key_text
from analysis.alerts.message import webhook
from servescope.alerting.outbox import Outbox
from servescope.alerting.receivers import NotTold
from servescope.alerting.settings import Receiver
from servescope.alerting.telling import Attempt, Office, Teller

log = logging.getLogger("servescope.alerts")

AT_ONCE = 8


class WebhookTeller(Teller):
    """One webhook; see `Teller`."""

    def __init__(self, office: Office, receiver: Receiver) -> None:
        super().__init__(office, receiver)
        settings = office.settings
        self._outbox = Outbox(
            receiver.name, receiver.matchers(), settings.group_by, settings.timing
        )
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def tell(self) -> None:
        """Send what is due."""
        now, book = self.office.clock.now(), self.office.book
        due = self._outbox.due(book.held, book.ended, book.muted(now), book.sent, now)
        await asyncio.gather(*(self._send(notice, now) for notice in due))

    async def _send(self, notice: Notice, now: datetime) -> None:
        clock = self.office.clock
        said = notice if self.receiver.send_resolved else replace(notice, resolved=())
        began, error = clock.monotonic(), None
        if said.firing or said.resolved:
            places, most = self.office.places(), self.receiver.most_alerts
            message = webhook(said, self.receiver.name, places, now, most)
            try:
                async with self._turns:
                    await self.door.tell(message)
            except NotTold as refused:
                error = str(refused)
        await self._note(said, error, clock.monotonic() - began)

    async def _note(self, said: Notice, error: str | None, seconds: float) -> None:
        now, group, attempt = self.office.clock.now(), key_text(said.key), 1
        self.count(error)
        if error is None:
            self._outbox.done(said.key, now)
            self.office.book.told(self.receiver.name, group, Sent(now, said.known))
        else:
            attempt = self._outbox.failed(said.key, now)
            what = {"receiver": self.receiver.name, "error": error, "attempt": attempt}
            log.warning("alert_not_told", extra=what)
        await self.keep(
            Attempt(
                now, group, attempt, said.known, len(said.firing), len(said.resolved), seconds,
                error,
            )
        )  # fmt: skip
