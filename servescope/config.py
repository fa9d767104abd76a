"""Configuration: flag over environment over file over default, checked before anything starts.

The file is TOML; its tables are the sections below. The environment names a setting
`SERVESCOPE_SECTION__KEY`. All mistakes are reported at once, each with where it stands.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from collector.agent.settings import AgentSettings
from collector.discovery.settings import DiscoverySettings
from collector.otlp.settings import OtlpSettings
from collector.settings import ScrapeSettings
from controller.settings import ControllerSettings
from predictors.settings import PredictSettings
from servescope.access.settings import AccessSettings, OidcSettings
from servescope.alerting.settings import AlertSettings
from servescope.cost_settings import CostSettings
from servescope.gateway.settings import GatewaySettings
from servescope.reporting.settings import ReportsSettings
from servescope.settings import DashboardSettings, ServerSettings
from store import toml
from store.access import ROLES, Rights
from store.errors import ConfigError
from store.nearest import nearest_hint
from store.settings import StoreSettings

ENV_PREFIX = "SERVESCOPE_"
ENV_CONFIG_FILE = "SERVESCOPE_CONFIG"
FILE_NAME = "servescope.toml"
SECTIONS: dict[str, type[Any]] = {
    "server": ServerSettings,
    "access": AccessSettings,
    "oidc": OidcSettings,
    "collector": ScrapeSettings,
    "discovery": DiscoverySettings,
    "store": StoreSettings,
    "otlp": OtlpSettings,
    "agent": AgentSettings,
    "predict": PredictSettings,
    "controller": ControllerSettings,
    "gateway": GatewaySettings,
    "dashboard": DashboardSettings,
    "reports": ReportsSettings,
    "alerts": AlertSettings,
    "cost": CostSettings,
}
_SECRET_WORDS = ("token", "secret", "password", "api_key", "credential", "webhook")
_URL_LOGIN = re.compile(r"(://)[^/@\s]+@")

Values = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Config:
    """What the process runs with.

    Attributes:
        server: the process itself.
        collector: scraping.
        store: the database.
        otlp: what is taken by OTLP.
        agent: the node agent, which reads this table by itself; here it is only checked.
        file: the configuration file that was read, or None.
        origins: "section.key" -> "default", "flag", a file or an environment variable.
        discovery: where targets are found.
        predict: what the server predicts on its own.
        controller: what the server scales.
        gateway: the proxy before the engines.
        dashboard: what people are shown.
        reports: what is sent to people on its own.
        alerts: what wakes people, and who is told.
        cost: prices and cards.
        access: who may do what.
        oidc: where people sign in elsewhere.
    """

    server: ServerSettings
    collector: ScrapeSettings
    store: StoreSettings
    otlp: OtlpSettings
    file: Path | None
    origins: Mapping[str, str]
    discovery: DiscoverySettings = field(default_factory=DiscoverySettings)
    agent: AgentSettings = field(default_factory=AgentSettings)
    predict: PredictSettings = field(default_factory=PredictSettings)
    controller: ControllerSettings = field(default_factory=ControllerSettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    dashboard: DashboardSettings = field(default_factory=DashboardSettings)
    reports: ReportsSettings = field(default_factory=ReportsSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    cost: CostSettings = field(default_factory=CostSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    oidc: OidcSettings = field(default_factory=OidcSettings)


class _Environment(BaseSettings):
    """Only tells pydantic-settings which variables exist."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="ignore"
    )
    server: ServerSettings = ServerSettings()
    collector: ScrapeSettings = ScrapeSettings()
    discovery: DiscoverySettings = DiscoverySettings()
    agent: AgentSettings = AgentSettings()
    store: StoreSettings = StoreSettings()
    otlp: OtlpSettings = OtlpSettings()
    predict: PredictSettings = PredictSettings()
    controller: ControllerSettings = ControllerSettings()
    gateway: GatewaySettings = GatewaySettings()
    dashboard: DashboardSettings = DashboardSettings()
    reports: ReportsSettings = ReportsSettings()
    alerts: AlertSettings = AlertSettings()
    cost: CostSettings = CostSettings()
    access: AccessSettings = AccessSettings()
    oidc: OidcSettings = OidcSettings()


def load(
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read, merge and check the whole configuration.

    Args:
        file: a configuration file that must exist; None looks in the usual places.
        flags: "section.key" -> value; None values are flags that were not given.
        environment: the process environment; `os.environ` by default.

    Raises:
        ConfigError: one line per mistake, all of them.
    """
    env = os.environ if environment is None else environment
    path = file or find_file(env)
    problems: list[str] = []
    layers: list[tuple[str, Values]] = []
    if path is not None:
        layers.append((str(path), _known(_read_file(path), str(path), problems)))
    layers.append(("environment", _known(_read_environment(env), "environment", problems)))
    layers.append(("flag", _from_flags(flags or {})))
    values, origins = _merge(layers)
    sections = {name: _build(name, values.get(name, {}), origins, problems) for name in SECTIONS}
    if problems:
        raise ConfigError(
            "\n".join(problems), hint="`servescope config show --origin` lists every setting"
        )
    return Config(**sections, file=path, origins=origins)


def find_file(env: Mapping[str, str]) -> Path | None:
    """The configuration file: SERVESCOPE_CONFIG, the working folder, the user's folder; or None."""
    if env.get(ENV_CONFIG_FILE):
        return Path(env[ENV_CONFIG_FILE])
    home = Path(env.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    places = (Path(FILE_NAME), home / "servescope" / FILE_NAME)
    return next((place for place in places if place.is_file()), None)


def data_folder(env: Mapping[str, str] | None = None) -> Path:
    """Where stores lie by default: `${XDG_DATA_HOME:-~/.local/share}/servescope`."""
    env = os.environ if env is None else env
    return Path(env.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "servescope"


def rights(config: Config) -> Rights:
    """What everybody who opens the server may do."""
    origin = config.origins.get("access.role", "default")
    is_file = config.file is not None and origin == str(config.file)
    place = f"in {Path(origin).name}" if is_file else f"by {origin}"
    return Rights(ROLES[config.access.role], f"access.role {place}")


def store_path(config: Config) -> Path:
    """The store's file."""
    return Path(config.server.store).expanduser() if config.server.store else default_store()


def store_settings(config: Config, path: Path | None) -> StoreSettings:
    """The settings of the store at `path`: only the configured one is a lake, a scratch is none."""
    return config.store if path == store_path(config) else config.store.alone()


def default_store() -> Path:
    """The store when nobody names one."""
    return data_folder() / "store.duckdb"


def slo_path(config: Config) -> Path | None:
    """The file of objectives: the one that is set, else a `slo.toml` nearby, else None."""
    if config.server.slo_file:
        return Path(config.server.slo_file).expanduser()
    places = [Path("slo.toml")]
    if config.file is not None:
        places.insert(0, config.file.with_name("slo.toml"))
    return next((place for place in places if place.is_file()), None)


def views_folder(config: Config) -> Path:
    """The folder of saved views: beside the configuration, else in the data folder."""
    return config.file.with_name("views") if config.file is not None else data_folder() / "views"


def rows(config: Config) -> list[dict[str, Any]]:
    """Every setting: section, key, value, origin; for `config show` and introspection."""
    return [
        {
            "section": section,
            "key": field.name,
            "value": masked(field.name, getattr(getattr(config, section), field.name)),
            "origin": config.origins.get(f"{section}.{field.name}", "default"),
        }
        for section, kind in SECTIONS.items()
        for field in dataclasses.fields(kind)
    ]


def masked(name: str, value: Any) -> Any:
    """A value as it may be shown: secrets by name and passwords in URLs are hidden."""
    if any(word in name.lower() for word in _SECRET_WORDS) and value:
        return "***"
    if isinstance(value, list | tuple):
        return [masked(name, item) for item in value]
    if isinstance(value, Mapping):
        return {key: masked(str(key), item) for key, item in value.items()}
    return _URL_LOGIN.sub(r"\1***@", value) if isinstance(value, str) else value


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return toml.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror})", where=str(path), hint="give another --config"
        ) from error
    except (toml.TomlError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"not valid TOML: {error}", where=str(path), hint="see `servescope config init`"
        ) from error


def _read_environment(env: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(_Environment)
    source.env_vars = {
        key.lower(): value
        for key, value in env.items()
        if key.upper().startswith(ENV_PREFIX) and "__" in key
    }
    found = {name: dict(table) for name, table in source().items() if isinstance(table, dict)}
    for key in source.env_vars:
        section = key.removeprefix(ENV_PREFIX.lower()).partition("__")[0]
        if section not in SECTIONS:
            found.setdefault(section, {})
    return {name: _structured(name, table) for name, table in found.items()}


def _structured(section: str, table: dict[str, Any]) -> dict[str, Any]:
    """Lists are written with commas or as JSON in the environment, tables as JSON."""
    kinds = {
        field.name: str(field.type)
        for field in dataclasses.fields(SECTIONS.get(section, ServerSettings))
    }
    found = {}
    for key, value in table.items():
        try:
            found[key] = _read_text(kinds.get(key, ""), value)
        except json.JSONDecodeError as error:
            raise ConfigError(
                f"{section}.{key} is no JSON: {error}",
                where=f"{ENV_PREFIX}{section}__{key}".upper(),
                hint="lists may also be written with commas, tables not",
            ) from error
    return found


def _read_text(kind: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if kind.startswith("tuple"):
        return _read_list(value.strip())
    if kind.startswith("dict") or (kind == "Choice" and value.startswith("{")):
        return json.loads(value or "{}")
    return value


def _read_list(text: str) -> Any:
    """A list in the environment: JSON from a bracket on, one table as a list of it; else commas.

    Addresses such as `[::1]:8000` have brackets as well.

    Raises:
        json.JSONDecodeError: it is meant as JSON and is none.
    """
    if text.startswith(("[", "{")):
        try:
            found = json.loads(text)
        except ValueError:
            if '"' in text or text.startswith("{"):
                raise
        else:
            return found if isinstance(found, list) else [found]
    return [part.strip() for part in text.split(",") if part.strip()]


def _from_flags(flags: Mapping[str, Any]) -> Values:
    tables: Values = {}
    for name, value in flags.items():
        if value is not None:
            section, _, key = name.partition(".")
            tables.setdefault(section, {})[key] = value
    return tables


def _known(tables: Mapping[str, Any], where: str, problems: list[str]) -> Values:
    """Keep what exists; note everything else with the nearest name."""
    kept: Values = {}
    for section, table in tables.items():
        if section not in SECTIONS:
            problems.append(f"{where}: no section [{section}]; {nearest_hint(section, SECTIONS)}")
        elif not isinstance(table, dict):
            problems.append(f"{where}: {section} must be a table, write [{section}]")
        else:
            keys = [field.name for field in dataclasses.fields(SECTIONS[section])]
            unknown = [key for key in table if key not in keys]
            problems.extend(
                f"{where}: no setting {section}.{key}; {nearest_hint(key, keys)}" for key in unknown
            )
            kept[section] = {key: value for key, value in table.items() if key in keys}
    return kept


def _merge(layers: Sequence[tuple[str, Values]]) -> tuple[Values, dict[str, str]]:
    values: Values = {}
    origins: dict[str, str] = {}
    for origin, tables in layers:
        for section, table in tables.items():
            for key, value in table.items():
                values.setdefault(section, {})[key] = value
                origins[f"{section}.{key}"] = (
                    f"{ENV_PREFIX}{section}__{key}".upper() if origin == "environment" else origin
                )
    return values, origins


def _build(
    section: str, table: Mapping[str, Any], origins: Mapping[str, str], problems: list[str]
) -> Any:
    kind = SECTIONS[section]
    optional = {f.name for f in dataclasses.fields(kind) if str(f.type).endswith("| None")}
    # TOML and the environment have no word for "unset": an empty text stands for it.
    given = {k: None if v == "" and k in optional else v for k, v in table.items()}
    try:
        return TypeAdapter(kind).validate_python(given)
    except ConfigError as error:
        problems.append(f"{_places(section, table, origins)}: {error.where}: {error.message}")
        return kind()
    except ValidationError as error:
        for item in error.errors():
            key = str(item["loc"][0]) if item["loc"] else ""
            # `__post_init__` names the setting itself; pydantic names it in `loc`.
            text = item["msg"].removeprefix("Value error, ")
            place = origins.get(f"{section}.{key}") or _places(section, table, origins)
            problems.append(f"{place}: {f'{section}.{key}: ' if key else ''}{text}")
        return kind()


def _places(section: str, table: Mapping[str, Any], origins: Mapping[str, str]) -> str:
    return ", ".join(dict.fromkeys(origins[f"{section}.{key}"] for key in table)) or "default"
