"""`servescope controller explain`: why a decision is what it is, in lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from servescope.cli import access
from servescope.cli.access import Access, FileAccess, ServerAccess
from servescope.cli.data import configured
from servescope.cli.output import Output
from servescope.controlling import service
from store.errors import InputError
from store.queries import decisions as queries

_SHOWN_INPUTS = 8
LATEST = "latest"


def run_explain(
    which: str, pools: Sequence[str], store: Path | None, config_file: Path | None, *, as_json: bool
) -> None:
    """Print why a decision is what it is.

    Raises:
        InputError: `which` is neither a number nor `latest`, or nothing was decided yet.
    """
    from servescope.documents import plain

    out = Output(as_json=as_json)
    number = number_of(which)
    if number is not None and pools:
        raise InputError("a number names one decision; --pool is of `latest`", hint="leave it out")
    with access.opened(configured(store, config_file)) as way:
        decision = _newest(way, pools) if number is None else number
        if isinstance(way, ServerAccess):
            told = way.get(f"/controller/decisions/{decision}", {})
        else:
            assert isinstance(way, FileAccess)  # noqa: S101 - there are two ways
            runtime = way.runtime
            told = plain(
                service.decision_document(
                    runtime.database.reader, runtime.clock, decision, runtime.config.controller
                )
            )
    out.document("controller.explain", told)
    for name, text in explain_lines(told):
        out.line(f"{name:<7}{text}")


def number_of(which: str) -> int | None:
    """The decision that is named; None for the newest one.

    Raises:
        InputError: it is neither a number above 0 nor `latest`.
    """
    if which == LATEST:
        return None
    if which.isdecimal() and int(which) > 0:
        return int(which)
    raise InputError(f"'{which[:40]}' is no decision", hint="write its number, or `latest`")


def _newest(way: Access, pools: Sequence[str]) -> int:
    """The newest step, of these pools where some are named."""
    if isinstance(way, ServerAccess):
        asked = {"limit": "1"} | ({"pool": ",".join(pools)} if pools else {})
        rows = way.get("/controller/decisions", asked)["rows"]
    else:
        assert isinstance(way, FileAccess)  # noqa: S101 - there are two ways
        reader = way.runtime.database.reader
        rows = queries.listed(reader, list(pools), most=1).to_dicts()
    if not rows:
        of = f" for {', '.join(pools)}" if pools else ""
        raise InputError(f"nothing was decided{of} yet", hint="`servescope controller status`")
    # Steps that say the same are one row: its last one has the newest inputs.
    return int(rows[0]["last_id"])


def explain_lines(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is known of a decision, for people: (what, text)."""
    row = told["decision"]
    change = f"{row['before_replicas']} -> {row['final_replicas']}"
    change = f"held {row['final_replicas']}" if row["kind"] == "hold" else change
    at = str(row["decided_at"])[:19]
    yield f"#{row['decision_id']}", f"{at}  pool {row['pool']}  {change}   {row['mode'].upper()}"
    yield "why", f"{row['reason']}   [code: {row['code']}]"
    for clip in told["clips"]:
        yield "bound", f"{clip['guard']}: {clip['text']} ({clip['before']} -> {clip['after']})"
    yield from _flips(told)
    known = [one for one in told["inputs"] if one["value"] is not None]
    if known:
        yield "inputs", " · ".join(_input(one) for one in known[:_SHOWN_INPUTS])
    missing = [one["signal"] for one in told["inputs"] if one["value"] is None]
    if missing:
        yield "", f"nobody tells {', '.join(missing)}"
    if told["startup"]:
        yield "starts", " · ".join(f"{k} {v:.0f} s" for k, v in told["startup"].items())
    for one in told["forecasts"][-1:]:
        low, high = one["values"][0], one["values"][-1]
        yield "ahead", f"{one['horizon_seconds'] / 60:.0f} min: {low:.3g} to {high:.3g} requests/s"
    yield from _after(told)


def _flips(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What would have changed it."""
    for flip in told["flips"]:
        yield "flip", flip["text"]
    if told["decision"]["code"] == "policy_failed":
        yield "flip", "the policy gave no answer: the pool is held as it is, until it gives one"
    elif not told["flips"] and told["replays"] is not None:
        yield "flip", "nothing that was seen would have changed it alone"


def _after(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for note in told["notes"]:
        yield "note", note
    for words in told["advice"]:
        yield "advice", words
    for action in told["actions"]:
        at = str(action["acted_at"])[11:19]
        yield "done", f"{at} {action['outcome']} by {action['actuator']}: {action['text']}"
    if not told["actions"] and told["decision"]["kind"] != "hold":
        yield "done", f"not applied ({told['decision']['verdict'] or told['decision']['mode']})"
    for one in told["outcomes"]:
        if one["predicted"] is None and one["observed"] is None:
            continue
        yield (
            "after",
            f"{one['quantity']}: expected {_short(one['predicted'])}, came"
            + (f" {_short(one['observed'])}"),
        )
    if told["why_not"]:
        yield "again", told["why_not"]
    else:
        yield "again", "made again it comes out the same to the byte"


def _short(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _input(one: Mapping[str, Any]) -> str:
    age = "" if one["age_seconds"] is None else f"{one['age_seconds']:.0f} s old"
    share = "" if one["share_ratio"] >= 1 else f", of {one['share_ratio']:.0%}"
    grade = "" if one["grade"] == "fresh" else f"{one['grade']}, "
    return f"{one['signal']} {_short(one['value'])} ({grade}{age}{share})"
