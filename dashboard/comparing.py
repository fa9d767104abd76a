"""Compare: every page beside the period before, another model, or another source.

The switch is `cmp` in the address: `prev`, `model:x` or `source:y`. Each panel asks for its view a
second time, with what the comparison changes; figures, tiles and tables show both, and never a
difference: two intervals overlap or they do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import polars as pl

from analysis.measure import Measure, View
from dashboard.text import shown
from dashboard.url_state import Address, iso_z
from store.errors import InputError
from store.queries.scope import LABELS, Scope, SourceInfo, join_values, resolve

PREVIOUS = "prev"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a page is shown beside.

    Attributes:
        name: how the second series is called.
        params: URL parameters of the second series.
        scope: what they mean.
        shift: put on its times, so that both begin together; 0 where it is the same range.
    """

    name: str
    params: Mapping[str, str]
    scope: Scope
    shift: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Beside:
    """The second view of a panel, next to the first.

    Attributes:
        comparison: what it is.
        own: the first view's tables, as `analysis` made them.
        other: the second view.
    """

    comparison: Comparison
    own: Mapping[str, pl.DataFrame]
    other: View

    def frame(self, name: str) -> pl.DataFrame | None:
        """A table of the second view; None where it has no rows."""
        found = self.other.frames.get(name)
        return None if found is None or found.is_empty() else found

    def like(self, frame: pl.DataFrame) -> pl.DataFrame | None:
        """The second view's table for one of the first view's own tables."""
        name = next((name for name, own in self.own.items() if own is frame), None)
        return None if name is None else self.frame(name)


def comparison_of(
    address: Address, scope: Scope, catalog: Sequence[SourceInfo], now: object
) -> Comparison | None:
    """What `cmp` of an address means; None without it.

    Args:
        address: of the page.
        scope: what the page itself is about.
        catalog: all sources.
        now: the wall clock, aware UTC.

    Raises:
        InputError: it says nothing known, or what it names is not there.
    """
    text = address.params.get("cmp", "")
    kind, _, name = text.partition(":")
    if not text:
        return None
    params = {**address.params}
    if text == PREVIOUS:
        length = scope.end - scope.start
        params |= {"from": iso_z(scope.start - length), "to": iso_z(scope.start)}
        words, shift = "the period before", length
    elif kind == "model" and name:
        params["model"] = join_values([name])
        params |= {"from": iso_z(scope.start), "to": iso_z(scope.end)}
        words, shift = name, timedelta(0)
    elif kind == "source" and name:
        for dropped in ("from", "to", *LABELS):
            params.pop(dropped, None)
        params["source"] = join_values([name])
        words, shift = name, None
    else:
        raise InputError(
            f"'{text[:60]}' says nothing to compare with",
            hint="write cmp=prev, cmp=model:NAME or cmp=source:NAME",
        )
    other = resolve(params, catalog, now)  # type: ignore[arg-type]
    return Comparison(words, params, other, scope.start - other.start if shift is None else shift)


def with_words(view: View, beside: Beside) -> View:
    """The first view, whose numbers say what they are in the second one."""
    name = beside.comparison.name
    measures = {
        key: replace(measure, why=_words(measure, beside.other.measures.get(key), name))
        for key, measure in view.measures.items()
    }
    return replace(view, measures=measures)


def _words(measure: Measure, other: Measure | None, name: str) -> str | None:
    if other is None:
        return measure.why
    said = shown(other)
    words = f"{name}: {said.text}"
    if "interval" in (shown(measure).certainty, said.certainty):
        relation = _relation(measure, other)
        words += f" ({relation})" if relation else ""
    return ", ".join(filter(None, (words, measure.why)))


def _relation(measure: Measure, other: Measure) -> str:
    """How two intervals lie: what is known only between edges has no difference."""
    (low, high), (other_low, other_high) = _ends(measure), _ends(other)
    if None not in (low, other_high) and low >= other_high:  # type: ignore[operator]
        return "higher now"
    if None not in (high, other_low) and high <= other_low:  # type: ignore[operator]
        return "lower now"
    return "the intervals overlap" if (low or high) and (other_low or other_high) else ""


def _ends(measure: Measure) -> tuple[float | None, float | None]:
    if measure.value is not None:
        return measure.value, measure.value
    return measure.low, measure.high
