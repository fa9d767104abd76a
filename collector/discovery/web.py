"""Targets from a URL (Prometheus' http_sd): the whole list, again and again."""

from __future__ import annotations

from typing import Any

from collector.discovery.groups import MOST_BYTES, GroupsError, read_json, targets_of
from collector.discovery.model import DiscoveredTarget
from collector.http_access import OPEN, Access
from collector.http_fetch import Answer, Failure, Fetcher

_TIMEOUT_SECONDS = 10.0


class HttpDiscovery:
    """A list of target groups that somebody serves; an error keeps the last one.

    Args:
        url: where it is.
        refresh_seconds: how often to ask; told to the server in
            `X-Prometheus-Refresh-Interval-Seconds`.
        access: certificates and secrets that the server asks for.
    """

    def __init__(self, url: str, refresh_seconds: float = 30.0, access: Access = OPEN) -> None:
        self.refresh_seconds = refresh_seconds
        self.problem: str | None = None
        self._url = url
        self._access = access
        header = {"X-Prometheus-Refresh-Interval-Seconds": f"{refresh_seconds:g}"}
        self._fetcher = Fetcher(header)
        self._last: tuple[DiscoveredTarget, ...] = ()

    async def targets(self) -> tuple[DiscoveredTarget, ...]:
        """The list as it is served now, or the last good one."""
        got = await self._fetcher.get(
            self._url,
            timeout_seconds=_TIMEOUT_SECONDS,
            most_bytes=MOST_BYTES,
            accept="application/json",
            access=self._access,
        )
        try:
            self._last = targets_of(_groups(got), {"__meta_url": self._url})
            self.problem = None
        except GroupsError as error:
            self.problem = f"{self._url}: {error}"
        return self._last

    async def aclose(self) -> None:
        """Close the connection; safe twice."""
        await self._fetcher.aclose()


def _groups(got: Answer | Failure) -> Any:
    if isinstance(got, Failure):
        raise GroupsError(got.error)
    kind = got.content_type.partition(";")[0].strip().lower()
    if kind != "application/json":
        raise GroupsError(f"answers with {kind[:60] or 'no type'}, not application/json")
    groups = read_json(got.body)
    if not isinstance(groups, list):
        raise GroupsError("must be a list of groups, [] when there are none")
    return groups
