"""Settings of scheduled reports: the table `[reports]`, its schedules and its channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

_ABOVE_ZERO = ("limit_seconds", "backoff_seconds", "most_wait_seconds")
_AT_LEAST_ONE = ("memory_bytes", "most_kept", "most_kept_bytes", "most_schedules")
MOST_RETRIES = 10


@dataclass(frozen=True, slots=True)
class ReportsSettings:
    """Table `[reports]`: what is made and sent on its own, and by which ways.

    Attributes:
        schedule: tables `[[reports.schedule]]`; more can be added while the server runs, and one
            here wins over one of the same name there.
        channel: tables `[[reports.channel]]`: the only places anything is sent to.
        templates: folder with templates of one's own; empty has none.
        link: address of this server as readers reach it; empty is the one it listens on.
        limit_seconds: a report that takes longer to make is stopped.
        memory_bytes: a report that needs more to be made is stopped.
        retries: how often a channel is asked again.
        backoff_seconds: before the first of them; each later one waits twice as long.
        most_wait_seconds: the longest wait, whatever the other side asks for.
        most_kept: reports whose files are kept, the newest.
        most_kept_bytes: of all kept files together.
        retention_days: what became of older reports is forgotten; unset keeps all.
        most_schedules: schedules that can be added while the server runs.
    """

    schedule: tuple[dict[str, Any], ...] = ()
    channel: tuple[dict[str, Any], ...] = ()
    templates: str = ""
    link: str = ""
    limit_seconds: float = 120.0
    memory_bytes: int = 2 << 30
    retries: int = 3
    backoff_seconds: float = 10.0
    most_wait_seconds: float = 900.0
    most_kept: int = 200
    most_kept_bytes: int = 1 << 30
    retention_days: float | None = 400.0
    most_schedules: int = 100

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        for name in _ABOVE_ZERO:
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"reports.{name} must be above 0")
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ValueError(f"reports.{name} must be at least 1")
        if not 0 <= self.retries <= MOST_RETRIES:
            raise ValueError(f"reports.retries must be between 0 and {MOST_RETRIES}")
        if self.retention_days is not None and not self.retention_days > 0:
            raise ValueError("reports.retention_days must be above 0, or unset")
        if self.link and not self.link.startswith(("http://", "https://")):
            raise ValueError("reports.link is an address such as https://servescope.example.org")

    def wait_seconds(self, attempt: int, asked: float | None) -> float:
        """How long to wait after an attempt.

        Args:
            attempt: 1 is the first.
            asked: what the other side asked for.
        """
        own = self.backoff_seconds * 2.0 ** (attempt - 1)
        return float(min(max(own, asked or 0.0), self.most_wait_seconds))
