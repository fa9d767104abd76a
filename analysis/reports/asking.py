"""How sections get their numbers: from views alone, the same that page, API and CLI show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from analysis.reports.coverage import share, within
from analysis.reports.periods import Period
from store.errors import QueryTimeout, ServescopeError
from store.units import percent_text

COMPARABLE_SHARE = 0.5
"""With a period of which less than this was recorded nothing is compared."""

ViewDocument = Mapping[str, Any]
Ask = Callable[[str, Mapping[str, str], Mapping[str, str]], ViewDocument]
"""Name of a view, parameters of a scope, options of the view -> the view as a document."""


@dataclass(slots=True)
class Asking:
    """What a section may ask. Every view is asked for once, whoever needs it.

    Args:
        ask: see `Ask`.
        period: what the report is about.
        previous: the period before it.
        params: source and labels.
        sources: documents of the sources asked about.
        views: names of the views there are.
    """

    ask: Ask
    period: Period
    previous: Period
    params: Mapping[str, str]
    sources: Sequence[Mapping[str, Any]]
    views: frozenset[str]
    _known: dict[tuple[Any, ...], ViewDocument] = field(default_factory=dict)

    def view(self, name: str, **options: str) -> ViewDocument:
        """A view of the period."""
        return self._ask(name, self.period, options)

    def prior(self, name: str, **options: str) -> ViewDocument | None:
        """The same view of the period before; None where that cannot be compared with."""
        return self._ask(name, self.previous, options) if self.has_before else None

    @property
    def has_before(self) -> bool:
        """Whether there are records of enough of the period before."""
        return share(self.sources, self.previous) >= COMPARABLE_SHARE

    @property
    def why_no_before(self) -> str:
        """Why nothing is compared with the period before, as a sentence."""
        covered = share(self.sources, self.previous)
        if not covered:
            return "There are no records of the period before to compare with."
        return (
            f"There are records of only {percent_text(covered)} of the period before: too little to"
            " compare with."
        )

    @property
    def is_live(self) -> bool:
        """Whether it is about the live fleet."""
        return any(source["kind"] == "live" for source in self.sources)

    def _ask(self, name: str, period: Period, options: Mapping[str, str]) -> ViewDocument:
        key = (name, period.key, tuple(sorted(options.items())))
        if key not in self._known:
            params = {**self.params, **self.range_of(period)}
            self._known[key] = self._patiently(name, params, options)
        return self._known[key]

    def _patiently(
        self, name: str, params: Mapping[str, str], options: Mapping[str, str]
    ) -> ViewDocument:
        """Ask a second time where a busy server ran out of time: nobody waits for this page."""
        try:
            return self.ask(name, params, options)
        except ServescopeError as error:
            if error.code != QueryTimeout.code:
                raise
            return self.ask(name, params, options)

    def range_of(self, period: Period) -> dict[str, str]:
        """The range of a period as query parameters; of a trace, the part that it has records of.

        A trace that ends is over, while a live fleet that falls silent may be down: that stays in.
        """
        start, end = period.start, period.end
        first, last = within(self.sources, period)
        if not self.is_live and first is not None and last is not None:
            start, end = max(start, first), min(end, last + timedelta(microseconds=1))
        return {"from": _iso(start), "to": _iso(end)}


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
