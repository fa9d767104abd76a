"""Tells an Alertmanager: again and again what fires, as Prometheus does; silences go both ways."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from analysis.alerts.grouping import Sent
from analysis.alerts.message import posted
from analysis.alerts.model import Alert
from servescope.alerting.outbox import wait_after
from servescope.alerting.receivers import NotTold
from servescope.alerting.settings import Receiver
from servescope.alerting.silencing import Silencing
from servescope.alerting.telling import Attempt, Office, Teller

RESOLVED_RESENT = timedelta(minutes=15)
"""How long an Alertmanager is told of an end, as Prometheus does."""
LASTS_RESENDS = 4
LEAST_LASTS = timedelta(minutes=1)


class AlertmanagerTeller(Teller):
    """One Alertmanager; see `Teller`."""

    def __init__(self, office: Office, receiver: Receiver) -> None:
        super().__init__(office, receiver)
        known = office.book.sent.get((receiver.name, ""))
        self._known: frozenset[str] = known.firing if known else frozenset()
        self._silencing = Silencing(office.book, self.door)
        self._every = timedelta(seconds=office.settings.resend_seconds)
        self._next_at: datetime | None = None
        self._failures = 0
        self._error: str | None = None

    async def tell(self) -> None:
        """Hand over what fires, what ended lately and silences: when it is time, or at news."""
        clock = self.office.clock
        now = clock.now()
        firing, over = self._wanted(now)
        changed = {alert.episode for alert in firing} != self._known
        has_news = changed or self._silencing.has_news(now)
        is_waiting = self._next_at is not None and now < self._next_at
        if is_waiting and (self._failures or not has_news):
            return
        began, error = clock.monotonic(), None
        try:
            await self._post(firing, over, now)
        except NotTold as refused:
            error = str(refused)
        seconds = clock.monotonic() - began
        is_new = changed or error != self._error
        self._note(firing, error)
        if error is None:
            # What is wrong with silences is shown, but holds no alert up.
            self.problem = await self._silencing.exchange(now)
        # What is only said again is no row.
        if is_new:
            known = frozenset(alert.episode for alert in firing)
            attempt = self._failures or 1
            await self.keep(
                Attempt(now, "", attempt, known, len(firing), len(over), seconds, error)
            )

    def _wanted(self, now: datetime) -> tuple[list[Alert], list[Alert]]:
        book = self.office.book
        muted = book.muted(now)
        firing = [
            alert
            for alert in self.fitting(book.held.values())
            if alert.state == "firing"
            # What it heard of goes on to be told: else it would take it for resolved.
            and (alert.fingerprint not in muted or alert.episode in self._known)
        ]
        over = [
            alert
            for alert in self.fitting(book.ended.values())
            if alert.episode in self._known or now - alert.changed_at <= RESOLVED_RESENT
        ]
        return firing, over

    async def _post(self, firing: Sequence[Alert], over: Sequence[Alert], now: datetime) -> None:
        lasts, places = max(LASTS_RESENDS * self._every, LEAST_LASTS), self.office.places()
        documents: list[dict[str, Any]] = [
            *(posted(alert, places, now, lasts, is_over=True) for alert in over),
            # A new firing of the same alert must be the last word about it.
            *(posted(alert, places, now, lasts, is_over=False) for alert in firing),
        ]
        most = self.receiver.most_alerts
        for start in range(0, len(documents), most):
            await self.door.post_alerts(documents[start : start + most])

    def _note(self, firing: Sequence[Alert], error: str | None) -> None:
        now = self.office.clock.now()
        self._failures = self._failures + 1 if error else 0
        self._next_at = now + (wait_after(self._failures) if error else self._every)
        self._error = error
        self.count(error)
        if error is None:
            self._known = frozenset(alert.episode for alert in firing)
            self.office.book.told(self.receiver.name, "", Sent(now, self._known))
