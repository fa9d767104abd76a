"""One bounded GET: what came back, or in which way it failed, as values."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2

from collector.model import Outcome

# OpenMetrics is not asked for: client_python then writes `vllm_` for `vllm:` in some releases.
METRICS_ACCEPT = "text/plain;version=0.0.4"
_HINTS = {
    401: "the page asks for credentials",
    403: "the page asks for credentials",
    404: "is this the right path? llama-server needs --metrics",
    501: "is the metrics page switched on? llama-server needs --metrics",
    503: "the engine may still be loading its model",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole body that came with status 200."""

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no body; `error` is one line for people."""

    outcome: Outcome
    error: str


async def fetch(
    client: httpx2.AsyncClient,
    url: str,
    *,
    timeout_seconds: float,
    most_bytes: int,
    headers: Mapping[str, str],
) -> Answer | Failure:
    """GET `url`; gzip is unpacked here so that the size limit holds for the unpacked body."""
    asked = {
        "Accept-Encoding": "gzip",
        "X-Prometheus-Scrape-Timeout-Seconds": f"{timeout_seconds:g}",
        **headers,
    }
    answered = False
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            client.stream("GET", url, headers=asked, timeout=timeout_seconds) as response,
        ):
            answered = True
            return await _answer(response, most_bytes)
    except (TimeoutError, httpx2.TimeoutException):
        return Failure("timeout", f"no whole answer within {timeout_seconds:g} s")
    except httpx2.RemoteProtocolError as why:
        cut = "the connection broke before the end of the page" if answered else _one_line(why)
        return Failure("truncated" if answered else "unreachable", cut)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as why:
        return Failure("unreachable", _one_line(why))


async def _answer(response: httpx2.Response, most_bytes: int) -> Answer | Failure:
    if response.status_code != 200:
        return _refused(response)
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", ""):
        return Failure("not_metrics", f"cannot unpack content encoding {encoding[:40]!r}")
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding == "gzip" else None
    body = bytearray()
    received_bytes = 0
    async for chunk in response.aiter_raw():
        received_bytes += len(chunk)
        try:
            # One byte over the limit is enough to know; a bomb is never unpacked whole.
            body += chunk if unpack is None else unpack.decompress(chunk, most_bytes + 1)
        except zlib.error:
            return Failure("truncated", "the gzip body is damaged")
        if max(len(body), received_bytes) > most_bytes:
            return Failure("too_large", f"the page has more than {most_bytes} bytes")
    if unpack is not None and not unpack.eof:
        return Failure("truncated", "the gzip body ends too early")
    return Answer(bytes(body), response.headers.get("content-type", ""), response.headers)


def _refused(response: httpx2.Response) -> Failure:
    status = response.status_code
    hint = _HINTS.get(status)
    if 300 <= status < 400:
        hint = f"it points to {response.headers.get('location', 'nowhere')[:200]}"
    return Failure("http_error", f"HTTP {status}" + (f": {hint}" if hint else ""))


def _one_line(why: BaseException) -> str:
    text = " ".join(str(why).split())
    return (text or type(why).__name__)[:200]
