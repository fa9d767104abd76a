"""Somebody's own scaling: a signed POST asks for replicas, a GET of the same URL tells them.

    POST URL  {"pool", "replicas", "decision_id", "version"}   -> 2xx {"decision_id": the same}
    GET  URL?pool=NAME  -> 200 {"pool", "wanted", "ready", "version", "decision_id"}

Status 409 is a conflict, 400, 401, 403 and 422 are refusals (with `error` as the reason), all else
is no answer. An answer that does not repeat the decision's id is not believed: a proxy or a login
page answers 200 as well. What is wanted is read back by GET; the receiver must not answer it from
what it was just told, but from what is so.

Signature: `X-Servescope-Signature: sha256=` HMAC-SHA256 over the time header, a dot, the method, a
dot, path with query, a dot, and the body. Receivers refuse times older than minutes and compare in
constant time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from controller.actuators.base import Scale
from controller.actuators.http import Answer, Http, count, member
from controller.actuators.platform import Conflicted, NoAnswer, Refused
from controller.actuators.settings import check_positive, check_url
from store.clock import Clock

TIME = "X-Servescope-Time"
SIGNATURE = "X-Servescope-Signature"
_LEAST_SECRET = 16


@dataclass(frozen=True, slots=True)
class WebhookPool:
    """One pool of the receiver.

    Attributes:
        name: name that the receiver knows; "" for the name it has here.
    """

    name: str = ""


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """A receiver of decisions.

    Attributes:
        url: URL of the receiver; https, or http on loopback.
        secret_file: file with at least 16 bytes that sign each question; read anew each time.
        pools: by name.
        answer_seconds: longest wait for one answer.
    """

    url: str
    secret_file: str
    pools: Mapping[str, WebhookPool] = field(default_factory=dict)
    answer_seconds: float = 5.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        check_url("url", self.url)
        check_positive("answer_seconds", self.answer_seconds)
        parts = urlsplit(self.url)
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("url must be https beyond loopback")
        if parts.query or parts.fragment:
            raise ValueError("url must have no query")


class Webhook:
    """A receiver as a platform; draining is its own.

    Args:
        settings: of the receiver.
        clock: the time that is signed.
    """

    def __init__(self, settings: WebhookSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        parts = urlsplit(settings.url)
        self._path = parts.path or "/"
        self._http = Http(f"{parts.scheme}://{parts.netloc}", settings.answer_seconds)

    @property
    def name(self) -> str:
        """For people and records."""
        return f"webhook {self._http.place}{self._path}"

    @property
    def pools(self) -> tuple[str, ...]:
        """Of the settings."""
        return tuple(self._settings.pools)

    async def read(self, pool: str) -> Scale:
        """What the receiver says is so."""
        path = f"{self._path}?pool={quote(self._named(pool), safe='')}"
        told = _good(await self._ask("GET", path, b"")).json()
        if member(told, "pool") != self._named(pool):
            raise NoAnswer("it told of another pool")
        return Scale(
            pool,
            count(member(told, "wanted")),
            count(member(told, "ready")),
            version=_text(member(told, "version")),
            decision_id=_text(member(told, "decision_id")),
        )

    async def write(self, pool: str, replicas: int, seen: Scale, decision_id: str) -> str:
        """Tell the receiver, and hear the decision's id from it."""
        body = {
            "pool": self._named(pool),
            "replicas": replicas,
            "decision_id": decision_id,
            "version": seen.version,
        }
        answer = _good(await self._ask("POST", self._path, orjson.dumps(body)))
        if member(answer.json(), "decision_id") != decision_id:
            raise NoAnswer("it did not repeat the decision's id, so it may be somebody else")
        return ""

    async def aclose(self) -> None:
        """Close the connections; safe twice."""
        await self._http.aclose()

    def _named(self, pool: str) -> str:
        return self._settings.pools[pool].name or pool

    async def _ask(self, method: str, path: str, body: bytes) -> Answer:
        stamp = str(int(self._clock.now().timestamp()))
        headers = {TIME: stamp, SIGNATURE: signature(self._secret(), stamp, method, path, body)}
        return await self._http.ask(method, path, body=body or None, headers=headers)

    def _secret(self) -> bytes:
        file = Path(self._settings.secret_file).expanduser()
        try:
            secret = file.read_bytes().strip()
        except OSError as error:
            raise NoAnswer(f"{file}: {error.strerror}") from None
        if len(secret) < _LEAST_SECRET:
            raise NoAnswer(f"{file}: a secret of less than {_LEAST_SECRET} bytes")
        return secret


def signature(secret: bytes, stamp: str, method: str, path: str, body: bytes) -> str:
    """What a receiver computes as well, and compares with `hmac.compare_digest`.

    Args:
        secret: shared.
        stamp: the time header.
        method: of HTTP, in capitals.
        path: with its query.
        body: bytes as sent.
    """
    signed = b".".join((stamp.encode(), method.encode(), path.encode(), body))
    return f"sha256={hmac.new(secret, signed, hashlib.sha256).hexdigest()}"


def _good(answer: Answer) -> Answer:
    if answer.good:
        return answer
    told: Any = answer.text
    if answer.headers.get("content-type", "").startswith("application/json"):
        told = member(answer.json(), "error") or told
    why = f"{answer.status} {told}"
    if answer.status == 409:
        raise Conflicted(why)
    if answer.status in (400, 401, 403, 422):
        raise Refused(why)
    raise NoAnswer(why)


def _text(told: Any) -> str:
    return told if isinstance(told, str) else ""
