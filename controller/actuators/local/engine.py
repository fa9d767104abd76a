"""What a replica says of itself: whether it takes requests, and how many it has."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal

import httpx2

from collector import exposition
from controller.actuators.local.processes import HOST

Health = Literal["closed", "open", "ready", "silent"]
_PAGE_BYTES = 8 << 20


class Engines:
    """Asks engines on loopback.

    Args:
        answer_seconds: longest wait for an answer.
    """

    def __init__(self, answer_seconds: float) -> None:
        self._answer_seconds = answer_seconds
        self._client: httpx2.AsyncClient | None = None

    async def health(self, port: int, path: str) -> Health:
        """Closed: nobody listens. Open: it answers, but takes no requests. Silent: no answer."""
        try:
            answer = await self._asker().get(f"http://{HOST}:{port}{path}")
        except httpx2.ConnectError:
            return "closed"
        except (httpx2.HTTPError, httpx2.InvalidURL):
            return "silent"
        return "ready" if answer.status_code == httpx2.codes.OK else "open"

    async def busy(self, port: int, path: str, names: Collection[str]) -> float | None:
        """Requests that run or wait; None where it does not tell."""
        try:
            answer = await self._asker().get(f"http://{HOST}:{port}{path}")
        except (httpx2.HTTPError, httpx2.InvalidURL):
            return None
        if answer.status_code != httpx2.codes.OK or len(answer.content) > _PAGE_BYTES:
            return None
        page = exposition.parse(answer.content)
        found = [value for series, value in page.values.items() if series.name in names]
        return sum(found) if found and all(math.isfinite(value) for value in found) else None

    async def aclose(self) -> None:
        """Close the connections; safe twice."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _asker(self) -> httpx2.AsyncClient:
        if self._client is None:
            limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
            self._client = httpx2.AsyncClient(
                timeout=self._answer_seconds, limits=limits, trust_env=False, verify=False
            )
        return self._client
