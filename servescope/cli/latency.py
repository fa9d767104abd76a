"""`servescope latency`, `starts list` and `starts read`: where the time goes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from servescope.cli import access
from servescope.cli.data import configured
from servescope.cli.output import Output
from servescope.documents import frame_rows
from store.errors import InputError

_TAIL = {
    "rank by E2E": "group",
    "requests": "requests",
    "E2E s": "e2e_seconds",
    "queue s": "queue_seconds",
    "prefill s": "prefill_seconds",
    "to first token s": "first_token_seconds",
    "decode s": "decode_seconds",
    "unattributed s": "unattributed_seconds",
}
_GROUPS = {
    "model": "model",
    "node": "node",
    "cache": "cache_state",
    "starts": "starts",
    "never ready": "never_ready",
    "ready p50 s": "ready_p50_seconds",
    "ready p95 s": "ready_p95_seconds",
    "slowest phase": "slowest_phase",
    "unattributed": "unattributed_ratio",
}
MOST_LOG_BYTES = 20_000_000


def run_latency(
    params: Mapping[str, str], store: Path | None, config_file: Path | None, *, as_json: bool
) -> None:
    """Print where the time of requests goes."""
    out = Output(as_json=as_json)
    with access.opened(configured(store, config_file)) as way:
        views = {name: way.view(name, params) for name in ("latency", "latency_tail")}
    out.document("latency", views)
    _say(out, *views.values())
    _table(out, views["latency_tail"], "tail", _TAIL)


def run_starts_list(
    params: Mapping[str, str], store: Path | None, config_file: Path | None, *, as_json: bool
) -> None:
    """Print how long instances take to start, by model, node and cache state."""
    out = Output(as_json=as_json)
    with access.opened(configured(store, config_file)) as way:
        view = way.view("cold_starts", params)
    out.document("starts.list", view)
    _say(out, view)
    _table(out, view, "groups", _GROUPS)


def run_starts_read(
    log: Path,
    told: Mapping[str, str | None],
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Read the first start in an engine's log and add its phases.

    Args:
        log: the file.
        told: instance, engine, model, node, began (ISO 8601) and utc_offset ("+02:00").
        store: where to.
        config_file: settings.
        as_json: print one document.

    Raises:
        InputError: the file cannot be read, or is no log of a known engine.
    """
    from collector.starts.logs import read_log

    out = Output(as_json=as_json)
    found = read_log(
        _text(log).splitlines(),
        str(told["instance"]),
        datetime.now(UTC),  # noqa: TID251 - a command has no clock of its own
        began_at=_began(told.get("began")),
        zone=_zone(told.get("utc_offset")),
        engine=told.get("engine") or "",
        model=told.get("model"),
        node=told.get("node"),
    )
    rows = [_plain(item) for item in found]
    with access.opened(configured(store, config_file)) as way:
        added = _send(way, found, rows)
    out.document("starts.read", {"phases": rows, "rows_added": added})
    columns = ("phase", "started_at", "seconds", "evidence")
    lengths = [
        (row["phase"], row["started_at"], (i.ended_at - i.started_at).total_seconds(), i.evidence)
        for row, i in zip(rows, found, strict=True)
    ]
    out.table(columns, lengths)
    out.line(f"{added} of {len(rows)} rows were new")


def _send(way: access.Access, found: list[Any], rows: list[dict[str, Any]]) -> int:
    if isinstance(way, access.ServerAccess):
        return int(way.send("POST", "/starts", json={"observations": rows})["rows_added"])
    from servescope.starts import add_observations

    assert isinstance(way, access.FileAccess)  # noqa: S101 - there are two
    return add_observations(way.runtime, found)


def _plain(item: Any) -> dict[str, Any]:
    return {
        "instance": item.instance,
        "phase": item.phase,
        "started_at": item.started_at.isoformat(),
        "ended_at": item.ended_at.isoformat(),
        "evidence": item.evidence,
        "model": item.model,
        "node": item.node,
        "cache_state": item.cache_state,
    }


def _text(log: Path) -> str:
    try:
        with log.open("rb") as file:
            return file.read(MOST_LOG_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror})", where=str(log), hint="check the path"
        ) from None


def _began(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"'{text}' is not a time", hint="write 2026-01-31T12:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _zone(text: str | None) -> timezone:
    if not text:
        return UTC
    try:
        offset = datetime.fromisoformat(f"2000-01-01T00:00:00{text}").utcoffset()
    except ValueError:
        offset = None
    if offset is None:
        raise InputError(f"'{text}' is not an offset", hint="write +02:00")
    return timezone(timedelta(seconds=offset.total_seconds()))


def _say(out: Output, *views: Mapping[str, Any]) -> None:
    for view in views:
        if view.get("empty"):
            out.line(view["empty"]["text"])
            return
        for sentence in view["sentences"]:
            out.line(sentence if sentence.endswith(".") else f"{sentence}.")


def _table(out: Output, view: Mapping[str, Any], frame: str, columns: Mapping[str, str]) -> None:
    rows = frame_rows(view, frame)
    if rows:
        out.line()
        out.table(list(columns), [[row.get(key) for key in columns.values()] for row in rows])
