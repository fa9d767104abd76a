"""Telling a receiver over HTTP: a webhook, or an Alertmanager by its own API."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
"""Of a list; an Alertmanager puts those that hold first."""
_MARK = re.compile(r"\[servescope ([0-9a-f-]{36})\]$")


class NotTold(Exception):
    """A receiver did not take what it was told; the message is for people and has no secret."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A silence as an Alertmanager lists it.

    Attributes:
        silence: with its identity there.
        is_over: whether it expired, or was ended.
        mark: identity here of the silence that it was written for; "" when it has none.
    """

    silence: Silence
    is_over: bool
    mark: str


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

    async def silences(self) -> list[Listed]:
        """The silences of an Alertmanager: those that hold or will, and what is left of others.

        Raises:
            NotTold: it does not tell.
        """
        told = (await self._ask("GET", "/api/v2/silences", None)).json()
        if not isinstance(told, list):
            raise NotTold("its list of silences is none")
        found = [_listed(one, self.receiver.name) for one in told[:MOST_SILENCES]]
        return [one for one in found if one is not None]

    async def post_silence(self, silence: Mapping[str, Any]) -> None:
        """Make a silence in an Alertmanager.

        Raises:
            NotTold: it did not take it.
        """
        await self._ask("POST", "/api/v2/silences", silence)

    async def end_silence(self, silence_id: str) -> None:
        """End a silence in an Alertmanager.

        Raises:
            NotTold: it did not.
        """
        await self._ask("DELETE", f"/api/v2/silence/{silence_id}", None)

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


def marked(silence: Silence) -> str:
    """The comment of a silence that is written into an Alertmanager, with its identity here."""
    return f"{silence.comment} [servescope {silence.silence_id}]"


def _listed(told: Any, origin: str) -> Listed | None:
    """A silence of Alertmanager's API; None of one that makes no sense here."""
    try:
        is_over = told["status"]["state"] not in ("active", "pending")
        matchers = tuple(matcher_of(one) for one in told["matchers"])
        starts, ends = (datetime.fromisoformat(told[name]) for name in ("startsAt", "endsAt"))
        identity = str(uuid.UUID(told["id"]))
        by, comment = str(told["createdBy"])[:200], str(told["comment"])
    except (KeyError, TypeError, ValueError, InputError):
        return None
    mark = _MARK.search(comment)
    made = Silence(identity, matchers, starts, ends, by, comment[:500], origin)
    return Listed(made, is_over, mark[1] if mark else "")
