"""What `servescope report run` does."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from dashboard.report import FORMS, File
from servescope.cli import access
from servescope.cli.data import configured
from servescope.cli.output import ExitCode, Output, Progress
from servescope.config import Config
from servescope.reporting.asked import Asked
from servescope.reporting.making import Made, asked_document, rendered
from store.clock import WallClock
from store.errors import InputError
from store.nearest import nearest_hint

MOST_STORE_BYTES = 512 << 20


def run_report(
    asked: Asked,
    folder: Path,
    templates: Path | None,
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
    plain: bool,
) -> None:
    """Make a report in this process and write its files.

    Args:
        asked: what is wanted.
        folder: where files go; made when it is not there.
        templates: folder of the user's own templates; None is that of the configuration.
        store: which file.
        config_file: settings.
        as_json: print one document.
        plain: no progress bar.

    Raises:
        InputError: something that there is not was asked for.
        typer.Exit: with 3, when there is nothing to report.
    """
    out = Output(as_json=as_json, plain=plain)
    check_forms(asked.forms)
    progress = Progress(out, f"{asked.template} report")

    def told(share: float, what: str) -> None:
        progress(share, f"  {what}")

    config = _lean(configured(store, config_file))
    own = templates or (Path(config.reports.templates) if config.reports.templates else None)
    with access.opened(config) as way:
        url = way.url if isinstance(way, access.ServerAccess) else None
        document = asked_document(asked, way, WallClock(), told, templates=own, server_url=url)
    # The store is closed: its memory is free for rendering.
    made = rendered(document, asked.forms, told)
    progress.done()
    paths = [write(folder, file) for file in made.files]
    _say(out, made, paths)
    if made.document.outcome == "skipped":
        raise typer.Exit(ExitCode.FINDING)


def _lean(config: Config) -> Config:
    """With so little memory for DuckDB that all of it, with the rest, stays below 1 GiB.

    A report over ten million requests takes 13.0 s so, and 11.6 s with the 1 GiB a server has.
    """
    most = min(config.store.memory_limit_bytes, MOST_STORE_BYTES)
    return replace(config, store=replace(config.store, memory_limit_bytes=most))


def check_forms(forms: tuple[str, ...]) -> None:
    """Refuse a form that there is not before anything is computed.

    Raises:
        InputError: naming it.
    """
    for form in forms:
        if form not in FORMS:
            raise InputError(f"no report can be made as '{form}'", hint=nearest_hint(form, FORMS))
    if not forms:
        raise InputError("no format is named", hint=f"--format {','.join(FORMS)}")


def write(folder: Path, file: File) -> Path:
    """Write a file whole or not at all; one of the same name is replaced.

    Raises:
        InputError: it cannot be written.
    """
    path = folder / file.name
    draft = folder / f".{file.name}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(file.data)
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise InputError(f"cannot be written: {error.strerror}", where=str(path)) from error
    return path


def _say(out: Output, made: Made, paths: list[Path]) -> None:
    document = made.document
    for line in made.summary:
        out.line(line)
    for section in document.sections:
        if section.problem:
            out.warn(f"{section.title}: {section.problem}")
    for path, file in zip(paths, made.files, strict=True):
        out.note(f"wrote {path} ({len(file.data) / 1024:,.0f} kB)")
    told: dict[str, Any] = {
        "outcome": document.outcome,
        "reason": document.reason,
        "template": document.template,
        "title": document.title,
        "period": {
            "key": document.covered.key, "start": document.covered.start,
            "end": document.covered.end, "zone": document.covered.zone,
        },
        "verdict": document.verdict,
        "findings": list(document.findings),
        "advice": list(document.advice),
        "files": [
            {"path": str(path), "media_type": file.media_type, "size_bytes": len(file.data)}
            for path, file in zip(paths, made.files, strict=True)
        ],
    }  # fmt: skip
    out.document("report.run", told)
