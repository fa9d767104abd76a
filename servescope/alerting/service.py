"""The alerts of a server: asked on time, kept, told; from any thread silenced and looked at."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from analysis.alerts.matchers import Matcher, Silence, checked_silence
from analysis.alerts.message import Places
from analysis.alerts.model import Alert
from analysis.slo_model import Slo
from servescope.alerting.alertmanager import AlertmanagerTeller
from servescope.alerting.asking import Asking
from servescope.alerting.book import Book
from servescope.alerting.settings import AlertSettings
from servescope.alerting.telling import Office, Teller
from servescope.alerting.webhooks import WebhookTeller
from servescope.changes import noted
from store import alerts as kept
from store.clock import Clock
from store.database import Database
from store.errors import InputError

log = logging.getLogger("servescope.alerts")

TELL_SECONDS = 5.0
MOST_SILENCES = 1_000
TELLERS: Mapping[str, type[Teller]] = {
    "webhook": WebhookTeller,
    "alertmanager": AlertmanagerTeller,
}


class Alerting:
    """One process's alerts.

    Args:
        database: the store.
        clock: the time.
        settings: which rules, which receivers.
        slos: the objectives in force.
        url: where this server answers.
        named: what a tenant is called outside.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: AlertSettings,
        slos: Callable[[], Sequence[Slo]],
        url: Callable[[], str | None],
        named: Callable[[str], str] | None = None,
        reserve_bytes: float = 0.0,
    ) -> None:
        self.settings = settings
        self.book = Book(database, settings.most_open)
        self.asking = Asking(
            database, settings.chosen(), free_space(database), reserve_bytes, named
        )
        self.notified: Counter[tuple[str, str]] = Counter()
        self.received: Counter[str] = Counter()
        self._database, self.clock, self._slos, self._url = database, clock, slos, url
        self._tellers: list[Teller] = []
        self._loops: list[asyncio.Task[None]] = []
        self._is_loaded = False

    def places(self) -> Places:
        """Where links lead."""
        server = self.settings.external_url or self._url() or "http://127.0.0.1:8787"
        return Places(server.rstrip("/"), self.settings.runbook_root)

    async def start(self) -> None:
        """Take up where the last process stopped, and go on."""
        if not self.settings.enabled:
            return
        await self.load()
        often = self.settings.evaluate_seconds
        self._loops = [
            asyncio.create_task(self._repeat(self.evaluate, often)),
            asyncio.create_task(self._repeat(self.tell, min(TELL_SECONDS, often))),
        ]

    async def load(self) -> None:
        """Read what is kept and make ready to tell; safe twice."""
        if self._is_loaded:
            return
        await asyncio.to_thread(self.book.load, self.clock.now())
        office = Office(
            self.settings, self.book, self.places, self._database.writer, self.clock, self.notified
        )
        receivers = self.settings.receivers()
        self._tellers = [TELLERS[receiver.kind](office, receiver) for receiver in receivers]
        self._is_loaded = True

    async def aclose(self) -> None:
        """Stop; what is open stays open. Safe twice and without start."""
        loops, self._loops = self._loops, []
        for loop in loops:
            loop.cancel()
        for loop in loops:
            with suppress(asyncio.CancelledError):
                await loop
        for teller in self._tellers:
            await teller.door.aclose()

    async def evaluate(self) -> list[Alert]:
        """Ask all rules once; gives the changes."""
        return await asyncio.to_thread(self._evaluate)

    def _evaluate(self) -> list[Alert]:
        now = self.clock.now()
        return self.book.take(self.asking.ask(self._slos(), now), now)

    async def tell(self) -> None:
        """Tell every receiver what is due; one that fails or is slow holds no other up."""
        if self.book.asked_at is None:
            return  # what ended while this process was away is known after the first look
        told = await asyncio.gather(
            *(teller.tell() for teller in self._tellers), return_exceptions=True
        )
        for teller, outcome in zip(self._tellers, told, strict=True):
            if isinstance(outcome, Exception):
                log.warning(
                    "telling_failed",
                    extra={"receiver": teller.receiver.name, "error": str(outcome)},
                )

    async def _repeat(self, work: Callable[[], Any], seconds: float) -> None:
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - the next turn may go well
                log.warning("alerts_failed", extra={"error": f"{type(error).__name__}: {error}"})
            await self.clock.sleep(seconds)

    def silence(
        self, matchers: Sequence[Matcher], starts_at: datetime | None, ends_at: datetime,
        by: str, comment: str, origin: str = "api",
    ) -> Silence:  # fmt: skip
        """Let nobody be told of what matches; `origin` is the door it came through.

        Raises:
            InputError: one of the five fields is missing or makes no sense.
        """
        now = self.clock.now()
        if sum(one.ends_at > now for one in self.book.silences.values()) >= MOST_SILENCES:
            raise InputError(f"there are {MOST_SILENCES} silences", hint="end some")
        wanted = Silence(
            str(uuid.uuid4()), tuple(matchers), starts_at or now, ends_at, by.strip(),
            comment.strip(),
        )  # fmt: skip
        made = checked_silence(wanted, now)
        self.book.silence([made], now, made.created_by)
        self._noted("alerts.silence", made, by, origin)
        return made

    def unsilence(self, silence_id: str, by: str, origin: str = "api") -> Silence:
        """End a silence; `origin` is the door it came through."""
        ended = self.book.unsilence(silence_id, self.clock.now(), by)
        self._noted("alerts.unsilence", ended, by, origin)
        return ended

    def _noted(self, action: str, silence: Silence, by: str, origin: str) -> None:
        after = {"matchers": [str(one) for one in silence.matchers], "ends_at": silence.ends_at}
        noted(
            self._database, self.clock, action, silence.silence_id, after, by=by, origin=origin,
            comment=silence.comment or None,
        )  # fmt: skip

    def receivers(self) -> list[dict[str, Any]]:
        """How receivers stand: name, kind, what is wrong, how often they were told."""
        problems = {teller.receiver.name: teller.problem for teller in self._tellers}
        return [
            {
                "receiver": one.name, "kind": one.kind, "match": list(one.match),
                "problem": problems.get(one.name),
                "sent": self.notified[one.name, "sent"],
                "failed": self.notified[one.name, "failed"],
            }
            for one in self.settings.receivers()
        ]  # fmt: skip

    async def test(self, receiver: str) -> dict[str, Any]:
        """Tell one receiver of an alert that is none; gives what came of it.

        Raises:
            InputError: no receiver has this name.
        """
        from servescope.alerting.trying import tried

        await self.load()
        found = next((one for one in self._tellers if one.receiver.name == receiver), None)
        if found is None:
            names = ", ".join(one.name for one in self.settings.receivers())
            raise InputError(f"no receiver is called '{receiver}'", hint=f"there are: {names}")
        return await tried(found, self.places(), self.clock.now())

    def counts(self) -> dict[tuple[str, str], int]:
        """(state, severity) -> alerts that are open."""
        found = Counter((one.state, one.severity) for one in self.book.held.values())
        return {
            (state, severity): found[state, severity]
            for state in ("pending", "firing")
            for severity in ("page", "ticket")
        }

    def forget(self) -> Mapping[str, Any] | None:
        """Delete what is over for longer than the settings keep it."""
        days = self.settings.retention_days
        if days is None:
            return None
        gone = kept.delete_old(
            self._database.writer, self.clock.now() - timedelta(days=days)
        ).result()
        return {"rows": gone} if gone else None


def free_space(database: Database) -> Callable[[], float] | None:
    """How many bytes are free beside the store; None where it is in memory."""
    import shutil

    path = database.path
    if path is None:
        return None
    return lambda: float(shutil.disk_usage(path.absolute().parent).free)
