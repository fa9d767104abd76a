"""`servescope doctor --repair`: one step after the other, each told first."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from servescope.cli import access, doctor
from servescope.cli.data import configured
from servescope.cli.output import CommandError, ExitCode, Output
from servescope.config import store_path
from store.clock import WallClock
from store.errors import StoreDamaged
from store.repair import Repair, Step


def run_doctor(
    store: Path | None, config_file: Path | None, *, repair: bool, yes: bool, as_json: bool
) -> None:
    """Say what is wrong, or mend the store."""
    if repair:
        run(store, config_file, yes=yes, as_json=as_json)
    else:
        doctor.run(store, config_file, as_json=as_json)


def run(store: Path | None, config_file: Path | None, *, yes: bool, as_json: bool) -> None:
    """Mend what can be mended.

    Raises:
        CommandError: a server holds the store; nobody can be asked; somebody said no.
        StoreError: it is held, or beyond mending.
    """
    out = Output(as_json=as_json)
    config = configured(store, config_file)
    path = store_path(config)
    url = access.server_of(path)
    if url is not None:
        raise CommandError(
            "a server holds this store", ExitCode.REFUSED, where=url, code="held",
            hint="stop it first; what it can mend it mends on its own",
        )  # fmt: skip
    repair = Repair(path, config.store, WallClock())
    done: list[dict[str, Any]] = []
    for step in repair.steps():
        if any(told["text"] == step.text for told in done):
            raise StoreDamaged(
                f"it was mended and is still wrong: {step.text}", where=str(path),
                hint=f"what was changed lies in {repair.kept}; restore a backup",
            )  # fmt: skip
        _ask(out, step, yes=yes)
        said = step.do(repair.kept)
        done.append({"subject": step.subject, "text": step.text, "done": said})
        out.line(f"{step.subject}  {said}")
    kept = repair.kept if repair.kept.exists() else None
    out.document("repair", {"store": path, "steps": done, "kept": kept})
    if not done:
        out.line("there is nothing to mend")
    elif kept is not None:
        out.line(f"what was changed lies in {kept}; remove it when all is well")


def _ask(out: Output, step: Step, *, yes: bool) -> None:
    out.note(f"{step.subject}: {step.text}")
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(
            "nobody can be asked here", ExitCode.USAGE, hint="--yes mends without asking"
        )
    sys.stderr.write("do that? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise CommandError("stopped; what was told before is done", ExitCode.REFUSED)
