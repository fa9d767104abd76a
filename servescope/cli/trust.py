"""`servescope trust`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from servescope.cli import access
from servescope.cli.data import configured
from servescope.cli.output import Output

_SIGNAL = ("target", "signal", "grade", "since", "evidence", "advice")
_TARGET = ("target", "engine", "grade", "usable_signals", "signals", "since", "evidence")


def run_trust(
    params: Mapping[str, str],
    store: Path | None,
    config_file: Path | None,
    *,
    everything: bool,
    as_json: bool,
) -> None:
    """Print how far targets and signals can be trusted; signals that are well only when asked."""
    out = Output(as_json=as_json)
    with access.opened(configured(store, config_file)) as way:
        found = way.view("trust", dict(params))
    frames = found["frames"]
    out.document("trust", {"sentences": found["sentences"], "frames": frames})
    for sentence in found["sentences"]:
        out.line(sentence)
    targets, signals = (frames.get(name, {}).get("rows", []) for name in ("targets", "signals"))
    if not targets:
        out.line("No target has been read yet, so nothing is graded.")
        return
    out.line()
    out.table(_TARGET, [[row[name] for name in _TARGET] for row in targets])
    shown = [row for row in signals if everything or row["grade"] not in ("fresh", "idle")]
    if shown:
        out.line()
        out.table(_SIGNAL, [[row[name] for name in _SIGNAL] for row in shown])
    _print_drops(out, frames.get("drops", {}).get("rows", []))


def _print_drops(out: Output, drops: list[Any]) -> None:
    if drops:
        out.line()
        names = ("door", "reason", "dropped", "example")
        out.table(names, [[row[name] for name in names] for row in drops])
