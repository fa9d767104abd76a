"""Absent and partial: what is missing from a page that came."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

from collector.trust.grades import Verdict
from collector.trust.step import Step
from store.signals import SIGNALS

_MOST_NAMED = 4

_RENAMED = (
    "A new release probably renamed it: compare the unknown names with the adapter's table and"
    " update servescope, or pin the release."
)
_GONE = "See the flags and the release of the engine; what needs this signal has to do without."
_RANKS = (
    "A rank, worker or data-parallel engine does not report: see its log. Totals are too small"
    " until it is back."
)
_LINES = "Look at the page for broken lines; the good ones are kept and used."


def absent(now: Step, known: Collection[str]) -> Iterator[tuple[str, Verdict]]:
    """Signals that the target has shown before and does not show now."""
    refused = {told.signal for told in now.notes.refused}
    for signal in sorted(set(known) - now.signals - refused):
        if now.restarted and signal in SIGNALS and SIGNALS[signal].kind != "gauge":
            text = "Not shown since the restart; counters of rare events appear with the first one."
            yield signal, Verdict("absent", text, "", "restart")
            continue
        unknown = now.notes.unknown_families
        if unknown:
            text = f"It is gone from the page, where unknown names stand: {_names(unknown)}."
            yield signal, Verdict("absent", text, _RENAMED, "gone")
        else:
            yield signal, Verdict("absent", "It is gone from a page that came.", _GONE, "gone")


def ranks_missing(now: Step) -> Iterator[tuple[str, Verdict]]:
    """Signals that fewer series feed than before."""
    if now.restarted:
        return
    for signal, (parts, before) in now.fewer.items():
        text = f"{parts} of {before} series that fed it (ranks, workers) are on the page."
        yield signal, Verdict("partial", text, _RANKS, "ranks")


def page_partial(now: Step, gone: Collection[str]) -> Verdict | None:
    """The page as a whole: unreadable lines, missing signals, missing ranks."""
    broken = (now.scrape.bad_line_count or 0) - _out_of_range(now)
    if gone:
        unknown = now.notes.unknown_families
        new = f"; unknown names appeared: {_names(unknown)}" if unknown else ""
        text = f"{len(gone)} signals are gone from the page: {_names(sorted(gone))}{new}."
        return Verdict("partial", text, _RENAMED if unknown else _GONE, "gone")
    if now.fewer and not now.restarted:
        parts, before = min(now.fewer.values())
        many = len(now.fewer)
        text = f"{many} signals come from fewer ranks than before ({parts} of {before})."
        return Verdict("partial", text, _RANKS, "ranks")
    if broken > 0:
        total = now.scrape.sample_count or 0
        text = f"{broken} lines of the page could not be read; {total} could."
        return Verdict("partial", text, _LINES, "lines")
    if now.memory.left_out:
        text = "It shows more series than are watched; the rest is not graded."
        return Verdict("partial", text, "Drop the label that multiplies its series.", "too_many")
    return None


def _out_of_range(now: Step) -> int:
    return sum(not math.isnan(told.value) for told in now.notes.refused)


def _names(names: Collection[str]) -> str:
    first = ", ".join(list(names)[:_MOST_NAMED])
    return f"{first} and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else first
