"""What a running server tells `servescope doctor`: the numbers of its page Admin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from servescope.cli.doctor_line import Line
from store.units import bytes_text, count_text, percent_text, seconds_text

SLOW_PAGE_SECONDS = 2.0
LATE_LOOP_SECONDS = 0.1
# Of those that are not fed whole; the page Admin has all.
MOST_PAGES = 8

Row = Mapping[str, Any]


def lines(views: Mapping[str, Mapping[str, Any]]) -> Iterator[Line]:
    """Everything, in the order of the page.

    Args:
        views: documents of the views `admin`, `trust` and `server`.
    """
    admin = views["admin"]
    yield _kept(admin["measures"])
    yield from map(_target, _rows(admin, "targets"))
    yield from map(_agent, _rows(admin, "agents"))
    yield from _clocks(_rows(admin, "clocks"))
    yield from map(_discovered, _rows(admin, "discovery"))
    yield from _trust(_rows(views["trust"], "signals"))
    yield from _imports(_rows(admin, "imports"))
    yield from _coverage(_rows(admin, "coverage"))
    yield from _pages(_rows(views["server"], "pages"), views["server"]["measures"])
    yield from _loop(views["server"]["measures"])


def _rows(view: Mapping[str, Any], name: str) -> Sequence[Row]:
    rows: Sequence[Row] = view["frames"].get(name, {}).get("rows", [])
    return rows


def _kept(measures: Mapping[str, Row]) -> Line:
    rows, size, lag = (
        measures[key]["value"] for key in ("rows_total", "store_bytes", "write_lag_seconds")
    )
    where = bytes_text(size) if size is not None else "in memory"
    text = f"{count_text(int(rows))} rows, {where}; the writer is {seconds_text(lag or 0.0)} behind"
    return Line("ok", "content", text)


def _target(row: Row) -> Line:
    url, state = str(row["url"]), row.get("state")
    if state == "ready":
        return Line("ok", "target", f"{url} {row.get('engine') or 'unknown engine'}: answers")
    if state == "waiting":
        return Line("note", "target", f"{url} was not scraped yet", "ask again in a few seconds")
    error = row.get("error") or "no fresh scrape"
    return Line("fail", "target", f"{url} is {state}: {error}", f"check: curl {url}")


def _agent(row: Row) -> Line:
    if row["state"] == "ok":
        return Line("ok", "agent", f"{row['name']} delivers {row['targets'] or 0} targets")
    text = f"{row['name']} is {row['state']}: {row['why'] or 'no heartbeat'}"
    return Line("warn", "agent", text, "look at its log on its node; docs/agent.md")


def _clocks(rows: Sequence[Row]) -> Iterator[Line]:
    """Those that are off; what an agent's clock does is said of the agent."""
    off = [row for row in rows if row["state"] == "off" and row["kind"] == "target"]
    known = sum(row["state"] != "unknown" for row in rows)
    for row in off:
        yield Line("warn", "clock", f"{row['name']}: {row['why']}", "page Admin has all clocks")
    if known and not off:
        yield Line("ok", "clock", f"{known} of {len(rows)} clocks are known, no target's is off")


def _discovered(row: Row) -> Line:
    if not row["problem"]:
        return Line("ok", "discovery", f"{row['source']} names {row['targets']} targets")
    fix = "its last targets are kept; check that it can be reached"
    return Line("warn", "discovery", f"{row['source']}: {row['problem']}", fix)


def _trust(signals: Sequence[Row]) -> Iterator[Line]:
    unusable = sum(not row["is_usable"] for row in signals)
    if unusable:
        text = f"{unusable} of {len(signals)} signals cannot be used now"
        yield Line("note", "trust", text, "why: servescope trust")
    elif signals:
        yield Line("ok", "trust", f"all {len(signals)} signals can be used")


def _imports(rows: Sequence[Row]) -> Iterator[Line]:
    for row in rows:
        if row["rows_rejected"]:
            text = f"{row['file']}: {row['rows_rejected']:,} rows were left out"
            yield Line("note", "import", text, "the file beside the store says why")


def _coverage(rows: Sequence[Row]) -> Iterator[Line]:
    """Pages that nothing feeds whole, and what the best of their sources lacks."""
    best: dict[str, Row] = {}
    order = {"full": 0, "partial": 1, "none": 2}
    for row in rows:
        held = best.get(row["page"])
        if held is None or order[row["state"]] < order[held["state"]]:
            best[row["page"]] = row
    lacking = [row for row in best.values() if row["state"] != "full"]
    if lacking:
        named = [f"{row['page']} (no {row['missing']})" for row in lacking[:MOST_PAGES]]
        more = len(lacking) - len(named)
        each = "; ".join([*named, *([f"{more} more"] if more else [])])
        text = f"{len(lacking)} of {len(best)} pages are not fed whole: {each}"
        yield Line("note", "coverage", text, "which source tells what: page Admin")


def _pages(rows: Sequence[Row], measures: Mapping[str, Row]) -> Iterator[Line]:
    timed = [row for row in rows if row["p95_seconds"] is not None]
    if not timed:
        return
    slowest = max(timed, key=lambda row: row["p95_seconds"])
    shared = measures["shared_ratio"]
    text = (
        f"slowest is {slowest['page']}, p95 {seconds_text(slowest['p95_seconds'])} "
        f"(view {slowest['slowest_view']}); {percent_text(shared['value'])} of {shared['n']:,} "
        "answers were shared"
    )
    is_slow = slowest["p95_seconds"] > SLOW_PAGE_SECONDS
    fix = "choose shorter ranges, or lower store.sample_retention_days" if is_slow else ""
    yield Line("warn" if is_slow else "ok", "pages", text, fix)


def _loop(measures: Mapping[str, Row]) -> Iterator[Line]:
    lag, most = (
        measures[key]["value"] for key in ("loop_lag_p95_seconds", "loop_lag_longest_seconds")
    )
    if lag is None:
        return
    text = f"p95 {seconds_text(lag)} late in five minutes, at most {seconds_text(most)}"
    is_late = lag > LATE_LOOP_SECONDS
    fix = "the machine is busy, or something blocks: see /api/v1/-/threads" if is_late else ""
    yield Line("warn" if is_late else "ok", "event loop", text, fix)
