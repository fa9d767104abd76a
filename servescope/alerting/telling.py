"""Tells receivers: what is due is sent, what was sent is kept, what failed is tried again."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from analysis.alerts.grouping import Notice, Sent, key_text
from analysis.alerts.matchers import Silence
from analysis.alerts.message import Places, posted, webhook
from analysis.alerts.model import Alert
from servescope.alerting.book import Book
from servescope.alerting.outbox import Outbox, wait_after
from servescope.alerting.receivers import Door, NotTold
from servescope.alerting.settings import AlertSettings, Receiver
from store import alerts as kept
from store.alerts import NotificationRow
from store.clock import Clock
from store.writer import Writer

log = logging.getLogger("servescope.alerts")

RESOLVED_RESENT = timedelta(minutes=15)
"""How long an Alertmanager is told of an end, as Prometheus does."""
LASTS_RESENDS = 4
LEAST_LASTS = timedelta(minutes=1)
AT_ONCE = 8


class WebhookTeller:
    """One webhook.

    Args:
        settings: of all receivers.
        receiver: this one.
        book: what there is to tell.
        places: for links; asked each time, since the address is known late.
        writer: keeps what was told.
        clock: the time.
        counts: (receiver, outcome) -> how often.
    """

    def __init__(
        self,
        settings: AlertSettings,
        receiver: Receiver,
        book: Book,
        places: Callable[[], Places],
        writer: Writer,
        clock: Clock,
        counts: Counter[tuple[str, str]],
    ) -> None:
        self.receiver, self.door = receiver, Door(receiver, settings.send_limit_seconds)
        self.problem: str | None = None
        self._book, self._places, self._writer, self._clock = book, places, writer, clock
        self._counts = counts
        self._outbox = Outbox(
            receiver.name, receiver.matchers(), settings.group_by, settings.timing
        )
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def tell(self) -> None:
        """Send what is due."""
        now, book = self._clock.now(), self._book
        due = self._outbox.due(book.held, book.ended, book.muted(now), book.sent, now)
        await asyncio.gather(*(self._send(notice, now) for notice in due))

    async def _send(self, notice: Notice, now: datetime) -> None:
        resolved = notice.resolved if self.receiver.send_resolved else ()
        began, error = self._clock.monotonic(), None
        if notice.firing or resolved:
            said = Notice(notice.key, notice.firing, resolved, notice.known)
            message = webhook(
                said, self.receiver.name, self._places(), now, self.receiver.most_alerts
            )
            try:
                async with self._turns:
                    await self.door.tell(message)
            except NotTold as refused:
                error = str(refused)
        await self._note(notice, len(resolved), error, self._clock.monotonic() - began)

    async def _note(self, notice: Notice, resolved: int, error: str | None, seconds: float) -> None:
        now, group = self._clock.now(), key_text(notice.key)
        self.problem = error
        self._counts[self.receiver.name, "failed" if error else "sent"] += 1
        if error is None:
            self._outbox.done(notice.key, now)
            self._book.told(self.receiver.name, group, Sent(now, notice.known))
            attempt = 1
        else:
            attempt = self._outbox.failed(notice.key, now)
            said = {"receiver": self.receiver.name, "error": error, "attempt": attempt}
            log.warning("alert_not_told", extra=said)
        row = NotificationRow(
            now, self.receiver.name, group, "failed" if error else "sent", attempt,
            sorted(notice.known), len(notice.firing), resolved, seconds, error,
        )  # fmt: skip
        await _keep(self._writer, [row])


class AlertmanagerTeller:
    """One Alertmanager: told again and again what fires, as Prometheus does; its silences count.

    Args: as of `WebhookTeller`.
    """

    def __init__(
        self,
        settings: AlertSettings,
        receiver: Receiver,
        book: Book,
        places: Callable[[], Places],
        writer: Writer,
        clock: Clock,
        counts: Counter[tuple[str, str]],
    ) -> None:
        self.receiver, self.door = receiver, Door(receiver, settings.send_limit_seconds)
        self.problem: str | None = None
        self._book, self._places, self._writer, self._clock = book, places, writer, clock
        self._counts, self._every = counts, timedelta(seconds=settings.resend_seconds)
        self._matchers = receiver.matchers()
        known = book.sent.get((receiver.name, ""))
        self._known: frozenset[str] = known.firing if known else frozenset()
        self._next_at: datetime | None = None
        self._failures = 0

    async def tell(self) -> None:
        """Hand over what fires and what ended lately, when it is time or something changed."""
        now = self._clock.now()
        firing, over = self._wanted(now)
        changed = {alert.episode for alert in firing} != self._known
        is_waiting = self._next_at is not None and now < self._next_at
        if is_waiting and (self._failures or not changed):
            return
        began, error = self._clock.monotonic(), None
        try:
            await self._post(firing, over, now)
            await self._read_silences(now)
        except NotTold as refused:
            error = str(refused)
        await self._note(firing, over, error, self._clock.monotonic() - began, is_news=changed)

    def _wanted(self, now: datetime) -> tuple[list[Alert], list[Alert]]:
        muted = self._book.muted(now)
        firing = [
            alert
            for alert in self._book.held.values()
            if alert.state == "firing"
            and self._fits(alert)
            # What it heard of goes on to be told: else it would take it for resolved.
            and (alert.fingerprint not in muted or alert.episode in self._known)
        ]
        over = [
            alert
            for alert in self._book.ended.values()
            if self._fits(alert)
            and (alert.episode in self._known or now - alert.changed_at <= RESOLVED_RESENT)
        ]
        return firing, over

    async def _post(self, firing: Sequence[Alert], over: Sequence[Alert], now: datetime) -> None:
        lasts, places = max(LASTS_RESENDS * self._every, LEAST_LASTS), self._places()
        documents: list[dict[str, Any]] = [
            *(posted(alert, places, now, lasts, is_over=True) for alert in over),
            # A new firing of the same alert must be the last word about it.
            *(posted(alert, places, now, lasts, is_over=False) for alert in firing),
        ]
        most = self.receiver.most_alerts
        for start in range(0, len(documents), most):
            await self.door.post_alerts(documents[start : start + most])

    async def _read_silences(self, now: datetime) -> None:
        """Silences made there hold here, too; those that are gone there end here."""
        told = {one.silence_id: one for one in await self.door.silences()}
        own = {
            name: one
            for name, one in self._book.silences.items()
            if one.origin == self.receiver.name and one.ends_at > now
        }
        news = [one for name, one in told.items() if own.get(name) != one]
        gone = [_ended(one, now) for name, one in own.items() if name not in told]
        if news or gone:
            await asyncio.to_thread(self._book.silence, [*news, *gone], now, self.receiver.name)

    async def _note(
        self,
        firing: Sequence[Alert],
        over: Sequence[Alert],
        error: str | None,
        seconds: float,
        *,
        is_news: bool,
    ) -> None:
        now, known = self._clock.now(), frozenset(alert.episode for alert in firing)
        self._failures = self._failures + 1 if error else 0
        self._next_at = now + (wait_after(self._failures) if error else self._every)
        had_problem, self.problem = self.problem, error
        self._counts[self.receiver.name, "failed" if error else "sent"] += 1
        if error is None:
            self._known = known
            self._book.told(self.receiver.name, "", Sent(now, known))
        # What is only said again is no row.
        if is_news or error != had_problem:
            row = NotificationRow(
                now, self.receiver.name, "", "failed" if error else "sent", self._failures or 1,
                sorted(known), len(firing), len(over), seconds, error,
            )  # fmt: skip
            await _keep(self._writer, [row])

    def _fits(self, alert: Alert) -> bool:
        return all(matcher.matches(alert.labels) for matcher in self._matchers)


Teller = WebhookTeller | AlertmanagerTeller
TELLERS: dict[str, type[WebhookTeller] | type[AlertmanagerTeller]] = {
    "webhook": WebhookTeller,
    "alertmanager": AlertmanagerTeller,
}


def _ended(silence: Silence, now: datetime) -> Silence:
    return replace(silence, starts_at=min(silence.starts_at, now), ends_at=now)


async def _keep(writer: Writer, rows: Sequence[NotificationRow]) -> None:
    await asyncio.wrap_future(kept.keep_notifications(writer, rows))
