"""Telling a receiver over HTTP: a webhook, or an Alertmanager by its own API."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from analysis.alerts.matchers import Silence, matcher_of
from collector.http_access import Access, Keyring, SecretError
from controller.actuators.http import Answer, Http
from controller.actuators.platform import NoAnswer
from servescope.alerting.settings import Receiver
from store.errors import InputError

MOST_SILENCES = 1_000


class NotTold(Exception):
    """A receiver did not take what it was told; the message is for people and has no secret."""


class Door:
    """The way to one receiver; belongs to one event loop.

    Args:
        receiver: its settings.
        seconds: longest wait for an answer.
    """

    def __init__(self, receiver: Receiver, seconds: float) -> None:
        self.receiver = receiver
        self._seconds = seconds
        self._keys = Keyring()
        self._access = Access(
            bearer_token_file=receiver.bearer_token_file,
            username=receiver.username,
            password_file=receiver.password_file,
        )
        self._http: Http | None = None

    async def tell(self, message: Mapping[str, Any]) -> None:
        """Post a message of a webhook.

        Raises:
            NotTold: it was not taken.
        """
        await self._ask("POST", "", message)

    async def post_alerts(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Hand alerts to an Alertmanager.

        Raises:
            NotTold: it did not take them.
        """
        await self._ask("POST", "/api/v2/alerts", list(alerts))

    async def silences(self) -> list[Silence]:
        """The silences of an Alertmanager that hold or will.

        Raises:
            NotTold: it does not tell.
        """
        told = (await self._ask("GET", "/api/v2/silences", None)).json()
        if not isinstance(told, list):
            raise NotTold("its list of silences is none")
        found = [_silence(one, self.receiver.name) for one in told[:MOST_SILENCES]]
        return [one for one in found if one is not None]

    async def aclose(self) -> None:
        """Close the connection."""
        if self._http is not None:
            await self._http.aclose()

    async def _ask(self, method: str, path: str, body: Any) -> Answer:
        try:
            if self._http is None:
                self._http = Http(self._url(), self._seconds, self._headers)
            answer = await self._http.ask(method, path, body=body)
        except (NoAnswer, SecretError, OSError) as error:
            raise NotTold(str(error)) from None
        if not answer.good:
            raise NotTold(f"answered {answer.status}: {answer.text}")
        return answer

    def _url(self) -> str:
        if self.receiver.url:
            return self.receiver.url
        url = Path(self.receiver.url_file).read_text("utf-8").strip()
        if not url.startswith(("http://", "https://")):
            raise NotTold(f"{self.receiver.url_file} holds no http address")
        return url

    def _headers(self) -> Mapping[str, str]:
        return dict(self._keys.headers(self._access))


def _silence(told: Any, origin: str) -> Silence | None:
    """A silence of Alertmanager's API; None of one that is over or makes no sense here."""
    try:
        if told["status"]["state"] not in ("active", "pending"):
            return None
        matchers = tuple(matcher_of(one) for one in told["matchers"])
        starts, ends = (datetime.fromisoformat(told[name]) for name in ("startsAt", "endsAt"))
        identity = str(uuid.UUID(told["id"]))
        by, comment = str(told["createdBy"])[:200], str(told["comment"])[:500]
    except (KeyError, TypeError, ValueError, InputError):
        return None
    return Silence(identity, matchers, starts, ends, by, comment, origin)
