"""What `servescope controller` does: asks the server, or opens the store when none runs."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servescope.cli import access
from servescope.cli.access import FileAccess, ServerAccess
from servescope.cli.data import configured
from servescope.cli.output import CommandError, ExitCode, Output
from servescope.controlling import service
from store.errors import InputError
from store.queries import decisions as queries

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)")
_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_STATUS = ("pool", "mode", "frozen", "policy", "wanted", "desired", "ready", "starting", "draining",
           "held because")  # fmt: skip
_LISTED = (
    "decision",
    "at",
    "pool",
    "mode",
    "change",
    "asked",
    "bound by",
    "why",
    "applied",
    "ticks",
)


def seconds_of(text: str) -> float | None:
    """Seconds of "30m", "2h"; None of nothing.

    Raises:
        InputError: it is no duration.
    """
    if not text.strip():
        return None
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise InputError(f"'{text}' is no duration", hint="write it as 90s, 30m, 2h or 1d")
    return float(found[1]) * _UNITS[found[2]]


def run_status(store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Print how the controller stands."""
    out = Output(as_json=as_json)
    with access.opened(configured(store, config_file)) as way:
        told = _status(way)
    out.document("controller.status", told)
    if not told["pools"]:
        out.line("Nothing is controlled: configure [[controller.pool]]; see docs/controller.md.")
        return
    if not told["running"]:
        out.line("No controller runs on this store; this is what was decided last.")
    out.table(_STATUS, [_status_row(row) for row in told["pools"]])
    for row in told["pools"]:
        for line in pool_lines(row):
            out.line(line)
    for row in told["pending"]:
        out.line(
            f"#{row['decision_id']} waits: {row['pool']} {row['before_replicas']} ->"
            f" {row['final_replicas']} until {row['expires_at']}: servescope controller approve"
            f" {row['decision_id']}"
        )


def pool_lines(row: Mapping[str, Any]) -> Iterator[str]:
    """What a table has no room for."""
    if row.get("adopted"):
        yield f"{row['pool']}: {row['policy_text']} decides, {row['adopted']['text']}"
    elif row.get("adoption_note"):
        policy, why = row["policy_text"], row["adoption_note"]
        yield f"{row['pool']}: {policy} of the configuration decides; {why}"
    if row.get("shadows"):
        numbers = ", ".join(str(number) for number in row["shadows"])
        yield f"{row['pool']}: watched beside it: candidate {numbers}"
    if row.get("policy_error"):
        yield f"{row['pool']}: held as it is, its policy gives no answer: {row['policy_error']}"
    if row.get("open") and row["open"]["is_wanted"]:
        yield _open_line(row["pool"], row["open"])


def _open_line(pool: str, tried: Mapping[str, Any]) -> str:
    number, attempts = tried["decision_id"], tried["attempts"]
    times = "one attempt" if attempts == 1 else f"{attempts} attempts"
    after = f" after {times}, the next at {str(tried['next_at'])[11:19]}"
    return f"{pool}: decision {number} is not done yet{after if attempts else ''}: {tried['text']}"


def _status_row(row: Mapping[str, Any]) -> list[Any]:
    until = row.get("frozen_until")
    frozen = (
        ("until resumed" if until is None else f"until {until}") if row.get("is_frozen") else ""
    )
    foreign = row.get("foreign")
    why = f"somebody set {foreign}" if foreign is not None else row.get("doubt", "")
    names = ("policy", "wanted", "desired", "ready", "starting", "draining")
    return [row["pool"], row["mode"], frozen, *(row.get(name) for name in names), why]


def _status(way: access.Access) -> dict[str, Any]:
    from servescope.documents import plain

    if isinstance(way, ServerAccess):
        return way.get("/controller/status", {})
    assert isinstance(way, FileAccess)  # noqa: S101 - there are two ways
    runtime = way.runtime
    found: dict[str, Any] = plain(
        service.status_document(runtime.database.reader, runtime.clock, None)
    )
    return found


def run_change(
    action: str,
    body: Mapping[str, Any],
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Tell the running controller something about pools."""
    out = Output(as_json=as_json)
    told = post(store, config_file, f"/controller/{action}", body)
    out.document(f"controller.{action}", told)
    for row in told["pools"]:
        out.line(_state_line(row))


def _state_line(row: Mapping[str, Any]) -> str:
    """How a pool is treated, after it was told something."""
    if row["is_frozen"]:
        until = row["frozen_until"] or "resumed"
        return f"{row['pool']}: frozen until {until} by {row['frozen_by']}; decisions are recorded"
    return f"{row['pool']}: {row['mode']} (version {row['version']})"


def run_verdict(
    verdict: str,
    decision: int,
    body: Mapping[str, Any],
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Approve or reject a decision that waits."""
    out = Output(as_json=as_json)
    told = post(store, config_file, f"/controller/decisions/{decision}/{verdict}", body)
    out.document(f"controller.{verdict}", told)
    out.line(f"#{decision} {told['pool']}: {told['outcome']}")


def run_rollback(
    decision: int,
    comment: str,
    store: Path | None,
    config_file: Path | None,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Say what a rollback would do, or do it."""
    out = Output(as_json=as_json)
    if yes:
        path = f"/controller/decisions/{decision}/rollback"
        told = post(store, config_file, path, {"comment": comment})
    else:
        server = access.the_server(configured(store, config_file))
        told = server.get(f"/controller/rollback/{decision}", {})
    out.document("controller.rollback", told)
    change = f"{told['pool']}: {told['from_replicas']} -> {told['to_replicas']}"
    if yes:
        out.line(f"{change}: {told['outcome']}; frozen for 15 min (decision {told['by_decision']})")
    else:
        out.line(f"{change}, then frozen for 15 min; nothing was done: add --yes")


def run_decisions(
    pools: Sequence[str],
    limit: int,
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print decisions."""
    from servescope.documents import plain

    out = Output(as_json=as_json)
    with access.opened(configured(store, config_file)) as way:
        if isinstance(way, ServerAccess):
            params = {"pool": ",".join(pools), "limit": str(limit)}
            rows = way.get("/controller/decisions", {k: v for k, v in params.items() if v})["rows"]
        else:
            assert isinstance(way, FileAccess)  # noqa: S101 - there are two ways
            reader = way.runtime.database.reader
            rows = plain(queries.listed(reader, list(pools), most=limit).to_dicts())
    out.document("controller.decisions", {"decisions": rows})
    if not rows:
        out.line("Nothing was decided yet.")
        return
    out.table(_LISTED, [_listed_row(row) for row in rows])


def _listed_row(row: Mapping[str, Any]) -> list[Any]:
    before, final = row["before_replicas"], row["final_replicas"]
    change = f"held {final}" if row["kind"] == "hold" else f"{before} -> {final}"
    applied = row["action_outcome"] or row["verdict"] or ("" if row["kind"] == "hold" else "no")
    return [
        row["decision_id"], str(row["decided_at"])[:19], row["pool"], row["mode"], change,
        row["proposed_replicas"], row["binding"], row["reason"], applied, row["ticks"],
    ]  # fmt: skip


def run_verify(last: int, store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Make steps again.

    Raises:
        CommandError: exit 3, when one comes out otherwise.
    """
    out = Output(as_json=as_json)
    with access.opened(configured(store, config_file)) as way:
        if isinstance(way, ServerAccess):
            told = way.get("/controller/verify", {"last": str(last)})
        else:
            assert isinstance(way, FileAccess)  # noqa: S101 - there are two ways
            told = service.verify_document(way.runtime.database.reader, last)
    out.document("controller.verify", told)
    out.line(f"{told['same']} of {told['checked']} steps come out the same to the byte.")
    shadows = told["shadows"]
    if shadows["checked"]:
        text = f"{shadows['same']} of {shadows['checked']} steps of candidates as well."
        out.line(text)
    for one in [*told["problems"], *shadows["problems"]]:
        out.line(f"step {one['observation_id']} ({one['fleet']}): {one['verdict']}: {one['text']}")
    differs = told["differs"] + shadows["differs"]
    if differs:
        raise CommandError(
            f"{differs} steps come out otherwise", ExitCode.FINDING,
            hint="was the record changed, or is the policy not deterministic?",
        )  # fmt: skip


def run_policies(*, as_json: bool) -> None:
    """Print the policies."""
    from controller.policies.registry import catalogue, defaults

    out = Output(as_json=as_json)
    rows = [
        {
            "name": spec.name, "title": spec.title, "period_seconds": spec.period_seconds,
            "needs_future": spec.needs_future, "parameters": defaults(spec.name),
            "source": spec.source,
        }
        for spec in catalogue()
    ]  # fmt: skip
    out.document("controller.policies", {"policies": rows})
    names = ("name", "title", "period_seconds", "source")
    out.table(names, [[row[name] for name in names] for row in rows])


def post(
    store: Path | None, config_file: Path | None, path: str, body: Mapping[str, Any]
) -> dict[str, Any]:
    """What the running controller answers to an order; `by` is the user where it is not told.

    Raises:
        CommandError: it refuses.
    """
    server = access.the_server(configured(store, config_file))
    given = {name: value for name, value in body.items() if value is not None}
    with _refusals():
        return server.send("POST", path, json={"by": _who(), **given})


@contextmanager
def _refusals() -> Iterator[None]:
    """Somebody was faster: that is a refusal, not a failure."""
    try:
        yield
    except CommandError as error:
        if error.code == "conflict":
            raise CommandError(
                f"refused: {error.message}", ExitCode.REFUSED, hint=error.hint, code=error.code
            ) from error
        raise


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "cli"
