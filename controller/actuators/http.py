"""Asking a platform over HTTP: bounded in time and size; what goes wrong is an answer too."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import orjson

from controller.actuators.platform import NoAnswer

MOST_BYTES = 4 << 20
_CONNECTIONS = 16
_TEXT_KEPT = 200

Headers = Callable[[], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: of HTTP.
        body: all of it.
        headers: names in small letters.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def good(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """How the body begins, on one line, for people."""
        told = " ".join(self.body[: 4 * _TEXT_KEPT].decode("utf-8", "replace").split())
        return told[:_TEXT_KEPT]

    def json(self) -> Any:
        """The body, decoded.

        Raises:
            NoAnswer: it is no JSON.
        """
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise NoAnswer(f"answered {self.status} with no JSON: {self.text}") from None


class Http:
    """One server, asked again and again; the connection is opened by the first question.

    Args:
        url: of the server, with a path before all paths if it has one.
        seconds: longest wait for one answer.
        headers: asked for with every question, since tokens change; may raise NoAnswer.
        verify: how the server is believed.
    """

    def __init__(
        self,
        url: str,
        seconds: float,
        headers: Headers | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self.url = url.rstrip("/")
        self._seconds = seconds
        self._headers = headers
        self._verify = verify
        self._client: httpx2.AsyncClient | None = None

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One question.

        Args:
            method: of HTTP.
            path: with its query.
            body: bytes as they are, or what is to be sent as JSON.
            headers: besides the usual ones.

        Raises:
            NoAnswer: no connection, no answer in time, or too long an answer.
        """
        sent = dict(self._headers() if self._headers else {})
        content = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        if content is not None:
            sent["Content-Type"] = "application/json"
        sent |= headers or {}
        try:
            async with self._asker().stream(
                method, f"{self.url}{path}", content=content, headers=sent
            ) as answer:
                return Answer(answer.status_code, await _all(answer), dict(answer.headers))
        except httpx2.TimeoutException:
            raise NoAnswer(f"{self.place}: no answer in {self._seconds:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise NoAnswer(f"{self.place}: {_one_line(error)}") from None

    async def aclose(self) -> None:
        """Close the connections; safe twice."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    @property
    def place(self) -> str:
        """Host and port, for people; never a login."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def _asker(self) -> httpx2.AsyncClient:
        if self._client is None:
            limits = httpx2.Limits(max_connections=_CONNECTIONS)
            # Reading the system's certificates takes longer than a question over plain HTTP.
            verify = self._verify if self.url.startswith("https://") else False
            self._client = httpx2.AsyncClient(
                timeout=self._seconds, limits=limits, trust_env=False, verify=verify
            )
        return self._client


async def _all(answer: httpx2.Response) -> bytes:
    body = bytearray()
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > MOST_BYTES:
            raise NoAnswer(f"an answer of more than {MOST_BYTES} bytes")
    return bytes(body)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_TEXT_KEPT] or type(error).__name__


def member(told: Any, *names: str) -> Any:
    """A value inside decoded JSON; None where any step is missing."""
    for name in names:
        if not isinstance(told, Mapping):
            return None
        told = told.get(name)
    return told


def count(told: Any) -> int | None:
    """A number of replicas inside decoded JSON; None where it is none."""
    whole = isinstance(told, int) and not isinstance(told, bool)
    return told if whole and told >= 0 else None


def bearer(token_file: str) -> Mapping[str, str]:
    """The header of a token that stands in a file; none without a file.

    Raises:
        NoAnswer: the file cannot be read.
    """
    if not token_file:
        return {}
    try:
        token = Path(token_file).expanduser().read_text("utf-8").strip()
    except OSError as error:
        raise NoAnswer(f"{token_file}: {error.strerror}") from None
    return {"Authorization": f"Bearer {token}"}
