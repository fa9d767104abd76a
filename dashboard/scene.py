"""What a page knows while it is drawn: its address, its sources and how to show times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import polars as pl

from dashboard.comparing import Beside, Comparison, comparison_of
from dashboard.figures.base import Look
from dashboard.figures.marks import Marks
from dashboard.services import Services
from dashboard.text import when, zone_of
from dashboard.url_state import Address
from store.errors import InputError
from store.queries.scope import Clock, Scope, SourceInfo, resolve


def _nothing() -> None:
    """Nobody to ask what happened."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything about a page but its numbers.

    Attributes:
        address: page and state from the URL.
        prefix: where the dashboard is mounted, such as "/ui/".
        api_root: where the REST API answers.
        zone: display zone.
        catalog: all sources.
        scope: what the URL asks about; None when it cannot be resolved.
        trouble: why it cannot, or None.
        now: the wall clock.
        marks: asks for what happened, for charts over time; None where there is nobody to ask, or
            the answer failed.
        comparison: what the page is shown beside, by its address; None without one.
        beside: the second view of the panel that is drawn; None where there is none.
    """

    address: Address
    prefix: str
    api_root: str
    zone: ZoneInfo
    catalog: Sequence[SourceInfo]
    scope: Scope | None
    trouble: InputError | None
    now: datetime
    marks: Callable[[], Marks | None] = _nothing
    comparison: Comparison | None = None
    beside: Beside | None = None

    @property
    def sources(self) -> list[SourceInfo]:
        """The sources in scope."""
        chosen = self.scope.source_ids if self.scope else ()
        return [source for source in self.catalog if source.source_id in chosen]

    @property
    def clock(self) -> Clock:
        """The clock all sources in scope share."""
        return self.sources[0].clock if self.sources else "utc"

    @property
    def is_live(self) -> bool:
        """Whether the live fleet is shown."""
        return self.scope is None or self.scope.is_live

    @property
    def look(self) -> Look:
        """How figures draw times."""
        return Look(self.zone, self.clock)

    def when(self, at: datetime | None) -> str:
        """A time of the sources shown, in words."""
        return when(at, self.zone, self.clock)

    def clipped(self, frame: pl.DataFrame) -> pl.DataFrame:
        """A frame over time without the bins that lie before or after the traces shown.

        A range may reach beyond its trace; an axis that does so would show times that never were.
        """
        firsts = [source.first_at for source in self.sources if source.first_at]
        lasts = [source.last_at for source in self.sources if source.last_at]
        if self.is_live or "at" not in frame.columns or not firsts or not lasts:
            return frame
        at = frame.get_column("at").unique().sort()
        width = at.diff().min() if at.len() > 1 else None
        margin = width if isinstance(width, timedelta) else timedelta(0)
        first, last = (at.replace(tzinfo=None) for at in (min(firsts), max(lasts)))
        return frame.filter((pl.col("at") + margin > first) & (pl.col("at") <= last + margin))

    def link(self, *path: str) -> str:
        """Another page with the same state."""
        return self.address.to(*path).href(self.prefix)

    def here(self, **changes: str | None) -> str:
        """This page with some parameters changed."""
        return self.address.changed(**changes).href(self.prefix)

    def api(self, resource: str, **options: str) -> str:
        """An address of the REST API with the same scope."""
        params = self.address.scope_params() | options
        query = "?" + urlencode(params, quote_via=quote, safe=",:") if params else ""
        return f"{self.api_root}/{resource}{query}"


def scene_of(services: Services, address: Address, prefix: str) -> Scene:
    """Gather the scene of an address. Bad parameters become its `trouble`, never an exception."""
    catalog, now = services.catalog(), services.now()
    zone, scope, trouble, comparison = ZoneInfo("UTC"), None, None, None
    try:
        zone = zone_of(address.params)
        scope = resolve(address.params, catalog, now)
        comparison = comparison_of(address, scope, catalog, now)
    except InputError as error:
        trouble = error
    return Scene(
        address, prefix, services.api_root, zone, catalog, scope, trouble, now,
        comparison=comparison,
    )  # fmt: skip
