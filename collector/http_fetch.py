"""One bounded GET: what came back, or in which way it failed, as values."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import h11

from collector.http_access import OPEN, Access, Keyring, SecretError
from collector.http_connection import (
    BrokenError,
    ConnectionPool,
    Origin,
    PackingError,
    Response,
    TooLargeError,
    split_url,
)
from collector.model import Outcome

# OpenMetrics is not asked for: client_python then writes `vllm_` for `vllm:` in some releases.
METRICS_ACCEPT = "text/plain;version=0.0.4"
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
_TLS_ALERT = r"b'\x15\x03"
_HINTS = {
    401: "the page asks for credentials; are the token or password files right?",
    403: "the page refuses these credentials",
    404: "is this the right path? llama-server needs --metrics",
    501: "is the metrics page switched on? llama-server needs --metrics",
    503: "the engine may still be loading its model",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole body that came with status 200; header names are in lower case."""

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no body; `error` is one line for people."""

    outcome: Outcome
    error: str


class Fetcher:
    """GET with limits, over connections that are kept, with the secrets that a target asks for.

    Args:
        headers: sent with every request.
    """

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        self._headers = list((headers or {}).items())
        self._pool = ConnectionPool()
        self._keyring = Keyring()

    async def get(
        self,
        url: str,
        *,
        timeout_seconds: float,
        most_bytes: int,
        accept: str,
        access: Access = OPEN,
    ) -> Answer | Failure:
        """GET `url`; redirects are not followed, as a token must not travel to another server.

        Args:
            url: http or https, normalised.
            timeout_seconds: for everything, the last byte included.
            most_bytes: largest body, counted packed and unpacked.
            accept: the Accept header.
            access: certificates and secrets.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                got = await self._ask(url, timeout_seconds, most_bytes, accept, access)
        except TimeoutError:
            return Failure("timeout", f"no whole answer within {timeout_seconds:g} s")
        except TooLargeError:
            return Failure("too_large", f"the page has more than {most_bytes} bytes")
        except _FAILURES as why:
            return _failure(why)
        if got.status != 200:
            return _refused(got)
        return Answer(got.body, got.headers.get("content-type", ""), got.headers)

    async def aclose(self) -> None:
        """Close the connections; safe twice and without a request."""
        await self._pool.aclose()

    async def _ask(
        self, url: str, timeout_seconds: float, most_bytes: int, accept: str, access: Access
    ) -> Response:
        scheme, host, port, path, name = split_url(url)
        secure = scheme == "https"
        context = self._keyring.context(access) if secure else None
        origin = Origin(host, port, context, access.server_name or None)
        headers = [
            ("Host", name),
            ("Accept", accept),
            ("Accept-Encoding", "gzip"),
            ("User-Agent", "servescope"),
            ("X-Prometheus-Scrape-Timeout-Seconds", f"{timeout_seconds:g}"),
            *self._headers,
            *self._keyring.headers(access),
        ]
        return await self._pool.get(origin, path, headers, most_bytes)


_FAILURES = (BrokenError, PackingError, SecretError, h11.ProtocolError, OSError, ValueError)


def _failure(why: Exception) -> Failure:
    if isinstance(why, PackingError):
        return Failure("not_metrics" if "encoding" in str(why) else "truncated", str(why))
    if isinstance(why, BrokenError) and why.answered:
        return Failure("truncated", "the connection broke before the end of the page")
    if isinstance(why, BrokenError):
        return Failure("unreachable", f"{_one_line(why)}; does it speak https://?")
    if isinstance(why, ssl.SSLCertVerificationError):
        return Failure("unreachable", f"certificate not trusted: {why.verify_message}"[:200])
    if isinstance(why, ssl.SSLError) and why.reason in _NO_TLS:
        return Failure("unreachable", "no TLS is spoken there; is it http:// instead of https://?")
    if isinstance(why, socket.gaierror):
        return Failure("unreachable", f"its name cannot be looked up ({why.strerror})")
    if isinstance(why, h11.RemoteProtocolError):
        # Somebody answers: with the alert of TLS, or with what is no HTTP.
        text = "TLS is spoken there; is it https:// instead of http://?"
        is_tls = _TLS_ALERT in str(why)
        return Failure("not_metrics", text if is_tls else f"no sound HTTP: {_one_line(why)}")
    return Failure("unreachable", _one_line(why))


def _refused(got: Response) -> Failure:
    hint = _HINTS.get(got.status)
    if 300 <= got.status < 400:
        hint = f"it points to {got.headers.get('location', 'nowhere')[:200]}"
    return Failure("http_error", f"HTTP {got.status}" + (f": {hint}" if hint else ""))


def _one_line(why: BaseException) -> str:
    if isinstance(why, OSError) and not isinstance(why, ssl.SSLError) and why.errno:
        return os.strerror(why.errno).lower()
    text = " ".join(str(why).split())
    return (text or type(why).__name__)[:200]
