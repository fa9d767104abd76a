"""What finds targets, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DiscoveredTarget:
    """One place to scrape, as the source of discovery tells it.

    Args:
        address: host and port, such as `10.0.0.7:8000`; the port may be left out.
        labels: what is known about it. Names that begin with `__` are for choosing and renaming
            only: `__scheme__`, `__metrics_path__`, `__param_NAME` and `__meta_*`, as in Prometheus.
    """

    address: str
    labels: Mapping[str, str] = field(default_factory=dict)


class Discovery(Protocol):
    """One source of targets."""

    @property
    def problem(self) -> str | None:
        """Why the list may be old, in one line; None while all is well."""
        ...

    @property
    def refresh_seconds(self) -> float:
        """How long to wait before asking again, > 0."""
        ...

    async def targets(self) -> tuple[DiscoveredTarget, ...]:
        """The whole list as it is now.

        Never raises for what the source does: when it cannot be read or is malformed, the last
        good list comes again and `problem` says why.
        """
        ...

    async def aclose(self) -> None:
        """Let go of everything; safe twice and without a question."""
        ...
