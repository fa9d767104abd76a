"""What the pages are handed: views, the catalogue of sources, the clock and nothing else.

The server fills this in (and puts its single-flight cache behind `view`); tests fill it with
rows of their own. No page opens a database, reads the time or calls the API over HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from analysis.measure import View
from store.queries.scope import SourceInfo


class ViewFunction(Protocol):
    """Compute (or take from the cache) one view of `analysis.views.VIEWS`."""

    def __call__(self, name: str, params: Mapping[str, str], **options: str) -> View:
        """Answer with the view `name` for URL parameters.

        Args:
            name: a key of `analysis.views.VIEWS`.
            params: the URL's parameters; those that are no part of a scope (`refresh`, `tz`,
                `table`, …) must be ignored.
            options: the view's own options, such as `slo="chat-ttft"`.

        Raises:
            ServescopeError: bad parameters, a query past its time limit, a store in trouble.
        """
        ...


@dataclass(frozen=True, slots=True)
class DataAge:
    """How fresh the live data is.

    Attributes:
        newest_at: newest live sample (aware UTC); None when there never was one.
        fresh: targets that answered within the last three scrape intervals.
        total: targets there are.
        stale_after_seconds: from this age on, pages say that the data is old.
    """

    newest_at: datetime | None = None
    fresh: int = 0
    total: int = 0
    stale_after_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a page may use.

    Attributes:
        view: see `ViewFunction`.
        catalog: all sources of the store, the live fleet included.
        now: the wall clock, aware UTC.
        data_age: freshness of the live data.
        label_values: values to choose from, by "model", "tenant", "route" and "instance", for the
            sources and the range in the URL parameters; most frequent first, at most 200 each.
        version: of servescope, shown in the help.
        api_root: where the REST API answers, without a trailing slash.
        load_example: imports the built-in example trace and says in one line what it did; None when
            this server cannot.
    """

    view: ViewFunction
    catalog: Callable[[], Sequence[SourceInfo]]
    now: Callable[[], datetime]
    data_age: Callable[[], DataAge]
    label_values: Callable[[Mapping[str, str]], Mapping[str, Sequence[str]]]
    version: str
    api_root: str = "/api/v1"
    load_example: Callable[[], str] | None = None
