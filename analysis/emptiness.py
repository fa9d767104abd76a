"""Why there is nothing to show: one of four reasons, decided in one place."""

from __future__ import annotations

from datetime import UTC, datetime

from analysis.measure import Empty
from store.queries import emptiness as emptiness_queries
from store.queries.emptiness import Held
from store.queries.scope import Scope
from store.reader import Reader

_NAMES = {
    "ttft_seconds": "time to first token",
    "tpot_seconds": "time per output token",
    "e2e_seconds": "whole durations",
    "session_key": "session identities",
    "tenant": "tenants",
    "block_hashes": "prefix block hashes",
}


def why_empty(reader: Reader, scope: Scope, needs: str | None = None) -> Empty | None:
    """The reason a page of this scope is empty; None when it is not.

    Args:
        reader: the store.
        scope: what was asked for.
        needs: a request column (or "tenant", "model", "route", "instance", "block_hashes") that the
            page cannot do without; None asks for any record at all.

    Returns:
        nothing_connected: the sources have never held a record, and nothing is scraped.
        outside_range: there are records, none in this range; `last_record_at` says where.
        no_traffic: the fleet was watched through the range and no request came, or none with the
        chosen labels did.
        metric_absent: there are records in range, none carries what is needed.
    """
    held = emptiness_queries.held(reader, scope, needs)
    last = held.last_at.replace(tzinfo=UTC) if held.last_at else None
    if held.requests_in_scope and (needs is None or held.needed_in_scope):
        return None
    if needs is None and held.scrapes_in_range:
        return None
    if last is None:
        return _nothing(held)
    if held.requests_in_scope:
        return Empty("metric_absent", _absent(str(needs)), last)
    if held.requests_in_range:
        return Empty("no_traffic", "No request with these labels in this range.", last)
    if held.scrapes_in_range:
        text = f"{_absent(str(needs))} The scraped engines send metrics, not request rows."
        return Empty("metric_absent", text, last)
    if held.first_at is not None and _covers(held.first_at, last, scope):
        return Empty("no_traffic", "No requests in this range.", last)
    return Empty("outside_range", f"Last data {last:%d %b %Y %H:%M:%S}.", last)


def _nothing(held: Held) -> Empty:
    if held.targets:
        return Empty("nothing_connected", "A target is configured, but it never answered yet.")
    if held.has_traces:
        text = "Nothing live is connected yet: this store holds recorded traces only."
        return Empty("nothing_connected", text)
    return Empty("nothing_connected", "No source yet.")


def _absent(needs: str) -> str:
    return f"Needs {_NAMES.get(needs, needs)}; these records carry none."


def _covers(first_at: datetime, last: datetime, scope: Scope) -> bool:
    return first_at.replace(tzinfo=UTC) < scope.end and last >= scope.start
