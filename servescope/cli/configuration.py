"""`servescope config ...` and `servescope version`."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from servescope.cli.output import Output
from servescope.config import SECTIONS, Config, load, rows, slo_path
from servescope.reference import attribute_texts
from store.clock import WallClock
from store.errors import ConfigError

_PACKAGES = ("servescope", "duckdb", "polars", "dash", "plotly", "fastapi", "uvicorn", "a2wsgi")


def run_show(file: Path | None, *, with_origin: bool, as_json: bool) -> None:
    """Print every setting in force."""
    config = load(file)
    out = Output(as_json=as_json)
    settings = rows(config)
    out.document("config.show", {"file": config.file, "settings": settings})
    section = ""
    for row in settings:
        if row["section"] != section:
            section = row["section"]
            out.line(f"[{section}]")
        origin = f"  # {row['origin']}" if with_origin else ""
        out.line(f"{row['key']} = {toml_value(row['value'])}{origin}")


def run_init(path: Path) -> None:
    """Write a commented file with the defaults.

    Raises:
        ConfigError: the file exists or cannot be written.
    """
    write_new(path, example_file())
    Output().line(str(path))


def write_new(path: Path, text: str) -> None:
    """Write a file that must not exist yet.

    Raises:
        ConfigError: it exists or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(
            "the file exists already", where=str(path), hint="remove it, or name another file"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"cannot be written ({error.strerror})", where=str(path), hint="name another file"
        ) from error


def run_validate(file: Path | None, *, as_json: bool) -> None:
    """Check file and environment."""
    config = load(file)
    check_pools(config)
    check_reports(config)
    out = Output(as_json=as_json)
    out.document("config.validate", {"file": config.file, "ok": True})
    out.line(f"ok  {config.file or 'no configuration file; defaults and environment'}")


def check_reports(config: Config) -> None:
    """Schedules and channels of reports, where there are any.

    Raises:
        ConfigError: naming the schedule or the channel and what is wrong with it.
    """
    if not (config.reports.schedule or config.reports.channel):
        return
    from servescope.reporting.service import Reporting
    from store.database import Database

    clock = WallClock()
    with Database.open(None, config.store.alone(), clock) as database:
        Reporting(config.reports, database, clock, None).prepare()


def check_pools(config: Config) -> None:
    """Policies, objectives and actuators of the controller's pools, where there are any.

    Raises:
        ConfigError: naming the pool and what is wrong with it.
    """
    if not config.controller.pool:
        return
    from analysis.slo_file import load_slo_file
    from servescope.controlling.assembly import plan

    path = slo_path(config)
    plan(config.controller, load_slo_file(path) if path else (), WallClock())


def run_version(*, as_json: bool) -> None:
    """Print the versions of this program and of its parts."""
    out = Output(as_json=as_json)
    found = versions()
    out.document("version", found)
    for name, version in found.items():
        out.line(f"{name} {version}")


def versions() -> dict[str, str]:
    """Versions of servescope, of Python and of the packages that matter."""
    found = {name: metadata.version(name) for name in _PACKAGES if _installed(name)}
    own = found.pop("servescope", "not installed as a package")
    return {"servescope": own, "python": platform.python_version(), **found}


def example_file() -> str:
    """A configuration file that says what every setting means."""
    lines = ["# servescope configuration. Every line is the default; remove the # to change it."]
    for section, kind in SECTIONS.items():
        lines += ["", f"[{section}]"]
        texts = attribute_texts(kind)
        for field in dataclasses.fields(kind):
            lines.append(f"# {texts[field.name]}")
            lines.append(f"# {field.name} = {toml_value(default_of(field))}")
    return "\n".join(lines) + "\n"


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The default of a setting, also of one that is a table."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def toml_value(value: Any) -> str:
    """A value as TOML writes it; empty text stands for an unset one."""
    if value is None:
        return '""'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, Mapping):
        inside = (f"{json.dumps(str(key))} = {toml_value(item)}" for key, item in value.items())
        return "{" + ", ".join(inside) + "}"
    return json.dumps(value, ensure_ascii=False)


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
