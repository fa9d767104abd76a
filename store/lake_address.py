"""Where a lake is: its catalogue, its files, and what opens both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from store.errors import ConfigError

SCHEMA = "servescope"
_EXAMPLE = 'for example "postgresql://servescope@db:5432/servescope"'
_POSTGRES = {"postgres", "postgresql"}
_S3 = "s3://"


@dataclass(frozen=True, slots=True)
class LakeAddress:
    """One lake.

    Attributes:
        catalog: what DuckLake is told of its catalogue, without any secret.
        schema: of the catalogue's tables, so that one database may hold several lakes.
        data: folder or `s3://bucket/prefix` of the files, with a slash at its end.
        login: options of DuckDB's secret for PostgreSQL; empty where the catalogue is a file.
        s3: options of DuckDB's secret for S3; empty where the files lie in a folder.
    """

    catalog: str
    schema: str
    data: str
    login: Mapping[str, str] = field(default_factory=dict, repr=False)
    s3: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_shared(self) -> bool:
        """Whether several servers may hold it at once."""
        return bool(self.login)

    @property
    def folder(self) -> Path | None:
        """Where its files lie on this host; None on S3."""
        return None if self.data.startswith(_S3) else Path(self.data)

    @property
    def text(self) -> str:
        """For people: without password."""
        if not self.login:
            return f"lake {self.catalog}"
        return f"lake {self.login['HOST']}/{self.login['DATABASE']} ({self.schema}), {self.data}"

    @property
    def extensions(self) -> tuple[str, ...]:
        """What DuckDB has to load."""
        return (
            "ducklake",
            *(("postgres_scanner",) if self.login else ()),
            *(("httpfs",) if self.s3 else ()),
        )


def lake_address(
    catalog: str, data: str, environment: Mapping[str, str] | None = None
) -> LakeAddress:
    """The lake that two settings name.

    Args:
        catalog: `store.lake`: a URL of PostgreSQL (its password may be left to PGPASSWORD or
            PGPASSFILE), or the path of a file, which only one server can hold.
        data: `store.lake_data`: a folder that all servers see, or `s3://bucket/prefix`; then keys
            come from the AWS_ variables.
        environment: `os.environ` by default.

    Raises:
        ConfigError: one of them cannot be understood.
    """
    env = os.environ if environment is None else environment
    if not data:
        raise ConfigError(
            "store.lake needs a place for its files",
            where="store.lake_data",
            hint='a folder that all servers see, or "s3://bucket/prefix"',
        )
    place = data if data.startswith(_S3) else os.path.abspath(os.path.expanduser(data))
    keys = _s3(env) if data.startswith(_S3) else {}
    slashed = place.rstrip("/") + "/"
    if "://" not in catalog:
        path = os.path.abspath(os.path.expanduser(catalog))
        return LakeAddress(f"duckdb:{path}", "main", slashed, {}, keys)
    url = urlsplit(catalog)
    if url.scheme not in _POSTGRES or not url.hostname or url.path in ("", "/"):
        raise ConfigError(
            "store.lake is no URL of a PostgreSQL database", where="store.lake", hint=_EXAMPLE
        )
    asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
    schema = asked.pop("schema", SCHEMA)
    if asked:
        raise ConfigError(
            f"store.lake has an unknown part '{next(iter(asked))}'",
            where="store.lake",
            hint="`?schema=NAME` is the only one; PGSSLMODE and its like work as variables",
        )
    return LakeAddress("postgres:", schema, slashed, _login(url, env), keys)


def _login(url: SplitResult, env: Mapping[str, str]) -> dict[str, str]:
    found = {"HOST": url.hostname or "", "DATABASE": unquote(url.path.lstrip("/"))}
    try:
        port = url.port
    except ValueError as error:
        raise ConfigError(
            "store.lake has no port that could be", where="store.lake", hint=_EXAMPLE
        ) from error
    if port:
        found["PORT"] = str(port)
    if url.username:
        found["USER"] = unquote(url.username)
    password = unquote(url.password) if url.password else env.get("PGPASSWORD", "")
    if password:
        found["PASSWORD"] = password
    return found


def _s3(env: Mapping[str, str]) -> dict[str, str]:
    found = {
        "KEY_ID": env.get("AWS_ACCESS_KEY_ID", ""),
        "SECRET": env.get("AWS_SECRET_ACCESS_KEY", ""),
        "SESSION_TOKEN": env.get("AWS_SESSION_TOKEN", ""),
        "REGION": env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "us-east-1",
    }
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    if endpoint:
        scheme, _, host = endpoint.rpartition("://")
        found |= {"ENDPOINT": host.rstrip("/"), "URL_STYLE": "path"}
        found["USE_SSL"] = "false" if scheme == "http" else "true"
    return {name: value for name, value in found.items() if value}
