"""Asking another server by HTTP: only the one that is configured, never where it points to."""

from __future__ import annotations

import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx2

from servescope.reporting.channels.base import TIMEOUT_SECONDS, Answer, one_line
from store.clock import Clock

MOST_ANSWER_BYTES = 4_096
# Those that may be another's fault, or over soon; every other 4xx stays what it is.
_LATER = frozenset({408, 409, 421, 423, 425, 429})


@dataclass(frozen=True, slots=True)
class Ask:
    """One request.

    Attributes:
        method: POST or PUT.
        url: all of it; secret where it holds a token.
        headers: without a length.
        body: bytes.
        hidden: what must not be repeated in what is kept.
        ca_file: certificates to trust besides those of the system.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    hidden: tuple[str, ...] = ()
    ca_file: str = ""


def ask(asked: Ask, clock: Clock) -> Answer:
    """Ask once; a redirect is not followed, and no proxy of the environment is used."""
    hidden = (asked.url, *asked.hidden)
    try:
        with (
            httpx2.Client(
                timeout=TIMEOUT_SECONDS, trust_env=False, follow_redirects=False,
                verify=_trust(asked.ca_file),
            ) as client,
            client.stream(
                asked.method, asked.url, headers=dict(asked.headers), content=asked.body
            ) as answer,
        ):  # fmt: skip
            return _read(answer, hidden, clock)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        host = host_of(asked.url)
        return Answer("failed", one_line(f"{host}: {type(error).__name__}: {error}", hidden))


def host_of(url: str) -> str:
    """Host and port, which are no secret."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "no host"
    except ValueError:
        return "no host"


def _trust(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


def _read(answer: httpx2.Response, hidden: tuple[str, ...], clock: Clock) -> Answer:
    said = b""
    for part in answer.iter_bytes():
        said += part
        if len(said) >= MOST_ANSWER_BYTES:
            break
    words = one_line(said[:MOST_ANSWER_BYTES].decode("utf-8", "replace"), hidden)
    text = f"HTTP {answer.status_code}{f': {words}' if words else ''}"
    if answer.is_success:
        return Answer("acknowledged", text)
    if answer.is_redirect:
        return Answer("refused", f"{text}; redirects are not followed")
    is_later = answer.status_code in _LATER or answer.status_code >= 500
    wait = _wait_seconds(answer.headers.get("retry-after"), clock)
    return Answer("failed" if is_later else "refused", text, wait)


def _wait_seconds(told: str | None, clock: Clock) -> float | None:
    """Retry-After as seconds. Source: RFC 9110, 10.2.3: a number, or a date."""
    if told is None:
        return None
    try:
        seconds = float(told)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(told) - clock.now()).total_seconds()
        except (TypeError, ValueError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
