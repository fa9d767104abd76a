"""Single requests: a page of them, and where the time of one went."""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from analysis.emptiness import why_empty
from analysis.measure import Empty, Measure, View
from store.errors import InputError
from store.queries import anatomy as queries
from store.queries.rows import STATUSES
from store.queries.scope import Scope, split_values
from store.reader import Reader
from store.units import seconds_text

PAGE_ROWS = 50
MOST_PAGES = 2_000
_IDENTITY = re.compile(r"(\d{1,5}):(-?\d{1,18}):(\d{1,20})")
SPANS_SCHEMA: dict[str, Any] = {
    "phase": pl.String,
    "start_seconds": pl.Float64,
    "seconds": pl.Float64,
    "source": pl.String,
}


def latency_requests(
    reader: Reader,
    scope: Scope,
    *,
    sort: str = "",
    page: str = "",
    status: str = "",
    over: str = "",
) -> View:
    """Fifty requests, sorted and filtered by the store.

    Options: `sort` (a column, "-" in front for largest first; slowest first when not given),
    `page` (from 1), `status` (a list), `over` (only those that took at least so many seconds).

    Measures: requests (after the filters), pages. Frame: `requests`.

    Raises:
        InputError: an option makes no sense.
    """
    column, descending = _sort(sort)
    number, least, statuses = _page(page), _seconds(over), _statuses(status)
    total = queries.requests_count(reader, scope, statuses, least)
    pages = max(1, -(-total // PAGE_ROWS))
    number = min(number, pages, MOST_PAGES)
    rows = queries.requests_page(
        reader, scope, sort=column, descending=descending, statuses=statuses,
        least_e2e_seconds=least, limit=PAGE_ROWS, offset=(number - 1) * PAGE_ROWS,
    )  # fmt: skip
    measures = {
        "requests": Measure(float(total), "requests"),
        "page": Measure(float(number), ""),
        "pages": Measure(float(min(pages, MOST_PAGES)), ""),
    }
    filtered = bool(statuses) or least is not None
    timed = any(rows[name].null_count() < rows.height for name in queries.QUANTITIES.values())
    empty = None
    if not timed and not filtered:
        empty = why_empty(reader, scope, "e2e_seconds")
    frames = {"requests": rows}
    return View("latency_requests", scope, measures=measures, frames=frames, empty=empty)


def _sort(text: str) -> tuple[str, bool]:
    column = text.removeprefix("-") or "e2e_seconds"
    if column not in queries.REQUEST_SORTS:
        raise InputError(
            f"cannot sort by '{column}'", hint=f"one of: {', '.join(queries.REQUEST_SORTS)}"
        )
    return column, not text or text.startswith("-")


def _page(text: str) -> int:
    if text and not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise InputError(f"'{text}' is not a page", hint="pages count from 1")
    return int(text or 1)


def _seconds(text: str) -> float | None:
    if not text:
        return None
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        raise InputError(f"'{text}' is not a number of seconds", hint="write over=2.5")
    return float(text)


def _statuses(text: str) -> tuple[str, ...]:
    chosen = split_values(text)
    unknown = [name for name in chosen if name not in STATUSES]
    if unknown:
        raise InputError(
            f"no status is called '{unknown[0]}'", hint=f"one of: {', '.join(STATUSES)}"
        )
    return chosen


def latency_request(reader: Reader, scope: Scope, *, request: str = "") -> View:
    """Where the time of one request went.

    Option: `request`, an identity as in the table ("source:arrival in microseconds:key"); without
    it the view is blank.

    Frames: `spans` (phase, start_seconds and seconds after arrival, source: reported or derived),
    `request` (one row), `attempts` (requests of the same trace), `decision` (the one in force).

    Raises:
        InputError: the identity makes no sense, or no such request is there.
    """
    if not request:
        return View("latency_request", scope)
    match = _IDENTITY.fullmatch(request)
    if match is None:
        raise InputError(
            f"'{request}' names no request", hint="take it from the column request of the table"
        )
    source_id, arrived_us, key = (int(part) for part in match.groups())
    found = queries.request(reader, source_id, arrived_us, key)
    if found.is_empty():
        raise InputError(
            "this request is not in the store", where=request, hint="retention may have taken it"
        )
    row = found.row(0, named=True)
    trace = row["trace_id"]
    same = queries.attempts(reader, source_id, trace, arrived_us) if trace else pl.DataFrame()
    decision = queries.decision_in_force(reader, arrived_us, row["decision_id"])
    spans = waterfall(row)
    empty = None
    if spans.is_empty():
        empty = Empty("metric_absent", "This request carries no latency: there is nothing to draw.")
    return View(
        "latency_request", scope,
        frames={"spans": spans, "request": found, "attempts": same, "decision": decision},
        sentences=_words(row, spans), empty=empty,
    )  # fmt: skip


def waterfall(row: dict[str, Any]) -> pl.DataFrame:
    """The phases of one request one after the other, and what they leave of the whole.

    Each phase begins where the one before it ends: rows carry lengths, not stamps. Lengths that
    the row does not carry are derived (prefill = TTFT - queue, decode = E2E - TTFT) and marked so.

    Args:
        row: a request with its latencies.
    """
    spans: list[tuple[str, float, float, str]] = []
    at = 0.0
    for name, length, source in _lengths(row):
        if length is not None and length >= 0:
            spans.append((name, at, length, source))
            at += length
    whole = row["e2e_seconds"]
    if whole is not None and (not spans or abs(whole - at) > 1e-6):
        spans.append(("unattributed", min(at, whole), whole - at, "E2E minus the phases"))
    return pl.DataFrame(spans, schema=SPANS_SCHEMA, orient="row")


def _lengths(row: dict[str, Any]) -> list[tuple[str, float | None, str]]:
    queue, prefill, ttft = row["queue_seconds"], row["prefill_seconds"], row["ttft_seconds"]
    decode, whole = row["decode_seconds"], row["e2e_seconds"]
    if queue is not None and queue < 0:
        queue = None
    found: list[tuple[str, float | None, str]] = [("queue", queue, "reported")]
    if prefill is None and queue is None:
        found.append(("first_token", ttft, "TTFT: queue and prefill are not told apart"))
    elif prefill is None:
        found.append(("prefill", None if ttft is None else ttft - queue, "TTFT - queue"))
    else:
        found.append(("prefill", prefill, "reported"))
    if decode is None and whole is not None and ttft is not None:
        found.append(("decode", whole - ttft, "E2E - TTFT"))
    else:
        found.append(("decode", decode, "reported"))
    return found


def _words(row: dict[str, Any], spans: pl.DataFrame) -> tuple[str, ...]:
    if spans.is_empty():
        return ()
    longest = spans.sort("seconds", descending=True).row(0, named=True)
    whole = float(row["e2e_seconds"] or spans["seconds"].sum())
    if not whole or longest["seconds"] <= 0:
        return ()
    name = longest["phase"].replace("_", " ")
    return (
        f"{seconds_text(whole)} in all, {longest['seconds'] / whole * 100:.0f} % of it {name} "
        f"({seconds_text(longest['seconds'])})",
    )
