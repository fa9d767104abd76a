"""The agent's configuration, read without the server's libraries: flag over environment over file.

The file is the server's own format; of it the agent reads the tables `[agent]` and `[collector]`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collector.agent.settings import AgentSettings
from collector.settings import ScrapeSettings
from store import toml
from store.errors import ConfigError
from store.nearest import nearest_hint

_PREFIX = "SERVESCOPE_"
_SECTIONS: Mapping[str, type[Any]] = {"agent": AgentSettings, "collector": ScrapeSettings}
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What an agent runs with.

    Args:
        agent: the agent itself.
        collector: how targets are scraped.
    """

    agent: AgentSettings
    collector: ScrapeSettings


def load(
    file: Path | None, flags: Mapping[str, Any], environment: Mapping[str, str]
) -> AgentConfig:
    """Read, merge and check.

    Args:
        file: must exist when given; else SERVESCOPE_CONFIG or `servescope.toml` when there is one.
        flags: settings of `[agent]`; None values are flags that were not given.
        environment: the process environment.

    Raises:
        ConfigError: every mistake, a line each.
    """
    problems: list[str] = []
    tables: dict[str, dict[str, Any]] = {name: {} for name in _SECTIONS}
    path = file or _usual_file(environment)
    if path is not None:
        _merge(tables, _read(path), str(path), problems)
    _merge(tables, _from_environment(environment), "environment", problems)
    tables["agent"].update({name: value for name, value in flags.items() if value is not None})
    made = {name: _build(name, tables[name], problems) for name in _SECTIONS}
    if problems:
        raise ConfigError("\n".join(problems), hint="docs/settings.md lists every setting")
    return AgentConfig(made["agent"], made["collector"])


def _usual_file(environment: Mapping[str, str]) -> Path | None:
    if environment.get("SERVESCOPE_CONFIG"):
        return Path(environment["SERVESCOPE_CONFIG"])
    here = Path("servescope.toml")
    return here if here.is_file() else None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return toml.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror})", where=str(path), hint="give another --config"
        ) from error
    except (toml.TomlError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"not valid TOML: {error}", where=str(path), hint="see docs/agent.md"
        ) from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, value in environment.items():
        section, _, key = name.upper().removeprefix(_PREFIX).partition("__")
        if name.upper().startswith(_PREFIX) and key and section.lower() in _SECTIONS:
            found.setdefault(section.lower(), {})[key.lower()] = value
    return found


def _merge(
    tables: dict[str, dict[str, Any]], told: Mapping[str, Any], where: str, problems: list[str]
) -> None:
    for section, kind in _SECTIONS.items():
        fields = {field.name: str(field.type) for field in dataclasses.fields(kind)}
        table = told.get(section, {})
        if not isinstance(table, Mapping):
            problems.append(f"{where}: {section} must be a table, write [{section}]")
            continue
        for key, value in table.items():
            if key not in fields:
                advice = nearest_hint(key, fields)
                problems.append(f"{where}: no setting {section}.{key}; {advice}")
                continue
            try:
                tables[section][key] = _value(fields[key], value)
            except ValueError:
                problems.append(f"{where}: {section}.{key}: {value!r} is no {fields[key]}")


def _value(kind: str, told: Any) -> Any:
    """`told`, from TOML or the environment, as a setting of type `kind`."""
    if kind == "bool":
        return _truth(told)
    if kind in ("int", "float"):
        if isinstance(told, bool) or not isinstance(told, int | float | str):
            raise ValueError
        return int(told) if kind == "int" else float(told)
    if kind.startswith("tuple"):
        parts = told.split(",") if isinstance(told, str) else told
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise ValueError
        return tuple(part.strip() for part in parts if part.strip())
    if not isinstance(told, str):
        raise ValueError  # noqa: TRY004 - one kind of error for a value that does not fit
    return told


def _truth(told: Any) -> bool:
    if isinstance(told, bool):
        return told
    text = str(told).lower()
    if text not in _TRUE + _FALSE:
        raise ValueError
    return text in _TRUE


MOST_PAGE_SAMPLES = 20_000
"""Lower than the server's: pages of one node are small, and so is the agent's memory."""
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "collector": {"most_page_samples": MOST_PAGE_SAMPLES},
}


def _build(section: str, table: Mapping[str, Any], problems: list[str]) -> Any:
    try:
        return _SECTIONS[section](**{**_DEFAULTS.get(section, {}), **table})
    except ValueError as error:
        problems.append(str(error))
        return _SECTIONS[section]()


def environment() -> Mapping[str, str]:
    """The process environment."""
    return os.environ
