"""`servescope slo list`, `check` and `lint`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import typer

from analysis.slo_gate import is_met
from servescope.cli import access
from servescope.cli.configuration import write_new
from servescope.cli.output import CommandError, ExitCode, Output
from servescope.config import Config, load, slo_path
from servescope.documents import frame_rows
from store.errors import InputError

_COLUMNS = {
    "name": "name",
    "objective": "objective_text",
    "attainment": "attainment_ratio",
    "attempted": "attempted",
    "bad": "bad",
    "budget left": "budget_left_ratio",
    "burn 1h": "burn_1h",
    "burn 6h": "burn_6h",
    "status": "status",
    "why": "why",
}


def run_list(
    file: Path | None, params: Mapping[str, str], store: Path | None, config_file: Path | None,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Print every objective."""
    out = Output(as_json=as_json)
    rows = _rows(file, params, store, config_file)
    out.document("slo.list", {"slos": rows})
    out.table(list(_COLUMNS), [[row.get(key) for key in _COLUMNS.values()] for row in rows])


def run_check(
    name: str | None, file: Path | None, params: Mapping[str, str], store: Path | None,
    config_file: Path | None, *, as_json: bool,
) -> None:  # fmt: skip
    """Exit 3 unless every objective is met; one that cannot be judged counts as not met.

    Raises:
        Exit: 3, an objective is missed or unknown.
        InputError: there is no such objective.
    """
    out = Output(as_json=as_json)
    rows = _rows(file, params, store, config_file)
    if name is not None:
        known = ", ".join(row["name"] for row in rows)
        rows = [row for row in rows if row["name"] == name]
        if not rows:
            raise InputError(f"there is no objective '{name}'", hint=f"there are: {known}")
    checked = [{**row, "met": is_met(row)} for row in rows]
    met = all(row["met"] for row in checked)
    out.document("slo.check", {"slos": checked, "met": met})
    for row in checked:
        word = {True: "met", False: "MISSED", None: "UNKNOWN"}[row["met"]]
        closed = " (UNKNOWN counts as not met)" if row["met"] is None else ""
        told = f"{_attainment(row)}  {row['status']}: {row['why']}"
        out.line(f"{word:7}  {row['name']}  {told}{closed}")
    if not met:
        raise typer.Exit(int(ExitCode.FINDING))


def run_lint(file: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Check the file itself."""
    from analysis.slo_file import read_slo_file
    from analysis.slo_lint import lint

    out = Output(as_json=as_json)
    path = _file(file, load(config_file))
    slos, problems = read_slo_file(path)
    problems = [*problems, *lint(slos)]
    errors = [item for item in problems if item.severity == "error"]
    found = [
        {"where": p.where, "message": p.message, "hint": p.hint, "severity": p.severity}
        for p in problems
    ]
    out.document("slo.lint", {"file": path, "objectives": len(slos), "problems": found})
    for item in problems:
        out.line(f"{item.severity}: {item}")
    if errors:
        raise typer.Exit(int(ExitCode.USAGE))
    out.line(f"ok  {path}: {len(slos)} objectives, {len(problems)} warnings")


def run_init(path: Path) -> None:
    """Write the example file.

    Raises:
        ConfigError: the file exists or cannot be written.
    """
    write_new(path, packaged_file().read_text("utf-8"))
    Output().line(str(path))


def packaged_file() -> Path:
    """The example that comes with the package."""
    return Path(str(resources.files("servescope"))) / "data" / "slo.toml"


def _rows(
    file: Path | None, params: Mapping[str, str], store: Path | None, config_file: Path | None
) -> list[dict[str, Any]]:
    config = load(
        config_file,
        {
            "server.store": str(store) if store else None,
            "server.slo_file": str(file) if file else None,
        },
    )
    with access.opened(config) as way:
        if isinstance(way, access.FileAccess):
            way.runtime.slos.path = _file(file, config)
            way.runtime.slos.load()
        elif file is not None:
            raise CommandError(
                "the server that holds this store has its own objectives", ExitCode.REFUSED,
                hint="leave --file out, or stop the server", code="server_slos",
            )  # fmt: skip
        return frame_rows(way.view("slo_list", params), "slos")


def _file(file: Path | None, config: Config) -> Path:
    path = file or slo_path(config)
    if path is None:
        raise InputError(
            "no file with objectives",
            hint="`servescope slo init` writes one; or name one with --file",
        )
    return path


def _attainment(row: Mapping[str, Any]) -> str:
    if row.get("attainment_ratio") is None:
        return "unknown"
    low, high = row.get("attainment_low"), row.get("attainment_high")
    interval = f" [{low:.4f}, {high:.4f}]" if low is not None and high is not None else ""
    counted = f"n={row['attempted']:,}" if row.get("attempted") is not None else ""
    return f"{row['attainment_ratio']:.4f}{interval} of {row['target_ratio']:g} {counted}".strip()
