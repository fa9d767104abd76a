"""`servescope doctor`: what is wrong here, each line with the fix."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import typer

from servescope.cli import access, doctor_extras, doctor_server
from servescope.cli.doctor_line import Line
from servescope.cli.output import ExitCode, Output
from servescope.config import Config, load, slo_path, store_path
from store.errors import ServescopeError
from store.units import seconds_text

OLDEST_PYTHON = (3, 11)
LATE_BACKUPS = 1.5
"""A newest backup of so many periods is old: one has failed, or nobody was there to take it."""


def run(store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Print what was found.

    Raises:
        Exit: 1 when something failed.
    """
    out = Output(as_json=as_json)
    lines = list(examine(store, config_file))
    out.document("doctor", {"findings": [asdict(line) for line in lines]})
    width = max(len(line.subject) for line in lines)
    for line in lines:
        fix = f"  -> {line.fix}" if line.fix else ""
        out.line(f"{line.level:5} {line.subject:{width}}  {line.text}{fix}")
    if any(line.level == "fail" for line in lines):
        raise typer.Exit(int(ExitCode.FAILED))


def examine(store: Path | None, config_file: Path | None) -> Iterator[Line]:
    """Everything that is looked at, in order."""
    yield from _programs()
    try:
        config = load(config_file, {"server.store": str(store) if store else None})
    except ServescopeError as error:
        for problem in error.message.splitlines():
            yield Line("fail", "config", problem, "servescope config validate")
        return
    yield Line("ok", "config", f"{config.file or 'defaults and environment'}")
    yield from doctor_extras.lines(config)
    yield from _store(config)
    yield from _backups(config)
    yield from _server(config)
    yield from _objectives(config)


def _programs() -> Iterator[Line]:
    from servescope.cli.configuration import versions

    found = versions()
    fits = sys.version_info >= OLDEST_PYTHON
    level, fix = ("ok", "") if fits else ("fail", "install Python 3.11 or newer")
    yield Line(level, "python", f"{platform.python_version()} {sys.executable}", fix)
    parts = " · ".join(f"{name} {version}" for name, version in found.items() if name != "python")
    yield Line("ok", "versions", parts)


def _store(config: Config) -> Iterator[Line]:
    from store.diagnose import diagnose

    for finding in diagnose(store_path(config), config.store):
        yield Line(finding.level, finding.subject, finding.text, finding.fix or "")


def _backups(config: Config) -> Iterator[Line]:
    from servescope.backups import age_seconds
    from store.clock import WallClock

    settings = config.store
    if not settings.backup_folder:
        fix = "set store.backup_folder, best on another disk; or run `servescope backup DIR`"
        yield Line("note", "backup", "the server takes no backups on its own", fix)
        return
    age = age_seconds(settings, WallClock().now())
    fix = "see the job `backup` on Admin; `servescope backup DIR` takes one now"
    if age is None:
        yield Line("warn", "backup", f"there is none in {settings.backup_folder}", fix)
        return
    text = f"the newest is {seconds_text(age)} old"
    late = age > LATE_BACKUPS * settings.backup_every_hours * 3600
    yield Line("warn" if late else "ok", "backup", text, fix if late else "")


def _server(config: Config) -> Iterator[Line]:
    path = store_path(config)
    url = access.server_of(path)
    if url is None:
        yield Line("note", "server", "no server holds this store", "start one: servescope up")
        return
    yield Line("ok", "server", f"{url} answers and holds this store; commands use its API")
    server = access.the_server(config)
    with server.client:
        health = server.get("/health", {})
        if health["status"] != "ok":
            told = ("store_trouble", "slo_file_problem", "jobs_failing")
            problem = next((health[key] for key in told if health[key]), "the writer is behind")
            yield Line("warn", "server", f"degraded: {problem}", f"see {url}/api/v1/health")
        views = {name: server.view(name, {}) for name in ("admin", "trust", "server")}
    yield from doctor_server.lines(views)


def _objectives(config: Config) -> Iterator[Line]:
    from analysis.slo_file import read_slo_file
    from analysis.slo_lint import lint

    path = slo_path(config)
    if path is None:
        yield Line("note", "slo", "no slo.toml; the SLO page is empty", "servescope slo init")
        return
    try:
        slos, problems = read_slo_file(path)
    except ServescopeError as error:
        yield Line("fail", "slo", error.message, error.hint or "servescope slo lint")
        return
    problems = [*problems, *lint(slos)]
    yield Line("ok", "slo", f"{path}: {len(slos)} objectives")
    for problem in problems:
        level = "fail" if problem.severity == "error" else "warn"
        yield Line(level, "slo", f"{problem.where}: {problem.message}", problem.hint)
