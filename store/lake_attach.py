"""Opening a lake: DuckDB's extensions, secrets and the catalogue; what to do where one fails."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import duckdb

from store.errors import StoreError
from store.folders import make_folder
from store.lake import NAME, TURN_SECONDS, Lake, wait_for_turn
from store.lake_address import LakeAddress, lake_address
from store.lake_home import Home
from store.lake_schema import STATUS, for_lake
from store.migrate import migrate
from store.settings import StoreSettings

Connection = duckdb.DuckDBPyConnection

INLINED_ROWS = 200
"""Appends of fewer rows are kept in the catalogue, and written to files in the background."""
_CATALOG_SECRET = "lake_catalog"  # noqa: S105 - its name
INSTALL = "pip install 'servescope[lake]'"


def open_lake(
    connection: Connection, path: Path | None, settings: StoreSettings, now: datetime
) -> Lake:
    """The lake that the settings name, with its schema brought up to date.

    Args:
        connection: of an instance in memory.
        path: beside which this server keeps its own files; None for none.
        settings: name the lake.
        now: aware UTC stamp for the ledger of the schema.

    Raises:
        ConfigError: the settings name no lake.
        StoreLocked: another server on this host keeps its files there.
        StoreError: as in `attach`; or a folder cannot be written.
        SchemaError: the schema does not fit.
    """
    address = lake_address(settings.lake, settings.lake_data)
    for folder in (address.folder, path.parent if path is not None else None):
        if folder is not None:
            make_folder(folder)
    home = Home(path) if path is not None else None
    try:
        if path is not None:
            connection.execute(f"SET temp_directory = '{_quoted(str(path.absolute()))}.tmp'")
        lake = attach(connection, address, home)
        connection.execute(STATUS)
        lake.enter(connection)
        lake.in_turn(lambda: migrate(connection, now, for_lake))
    except BaseException:
        if home is not None:
            home.close()
        raise
    return lake


def attach(connection: Connection, address: LakeAddress, home: Home | None = None) -> Lake:
    """Load what DuckDB needs, and open or make the lake.

    Raises:
        StoreError: an extension is not installed, PostgreSQL or the files cannot be reached.
    """
    load_extensions(connection, address)
    try:
        _secrets(connection, address)
        with _first_turn(connection, address):
            connection.execute(
                f"ATTACH 'ducklake:{_quoted(address.catalog)}' AS {NAME} ({_options(address)})"
            )
        see_files(connection, address)
    except duckdb.Error as error:
        raise explain(error, address) from error
    connection.execute("SET ducklake_max_retry_count = 0")
    return Lake(connection, address, home)


def attach_to_look(connection: Connection, address: LakeAddress) -> None:
    """Attach a lake that is there, to read only.

    Raises:
        StoreError: as in `attach`; or there is no lake.
    """
    load_extensions(connection, address)
    try:
        _secrets(connection, address)
        options = f"{_options(address)}, READ_ONLY, CREATE_IF_NOT_EXISTS false"
        connection.execute(f"ATTACH 'ducklake:{_quoted(address.catalog)}' AS {NAME} ({options})")
        see_files(connection, address)
    except duckdb.Error as error:
        raise explain(error, address) from error


def see_files(connection: Connection, address: LakeAddress) -> None:
    """Ask the bucket for a name, so that one that is away is told before rows are taken.

    Raises:
        duckdb.Error: as it says.
    """
    if address.folder is None:
        connection.execute(f"FROM glob('{_quoted(address.data)}main/migration/*')").fetchall()


def load_extensions(connection: Connection, address: LakeAddress) -> None:
    """Load DuckDB's extensions from their packages.

    Raises:
        StoreError: one is missing, or was made for another DuckDB.
    """
    for name in address.extensions:
        file = extension_file(name)
        if file is None:
            raise StoreError(
                f"DuckDB's extension {name} for {duckdb.__version__} is not installed", hint=INSTALL
            )
        connection.execute(f"LOAD '{_quoted(str(file))}'")


def extension_file(name: str) -> Path | None:
    """The file of an extension for the DuckDB that runs; None when no package brought it."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        version = Path(folder) / "extensions" / f"v{duckdb.__version__}"
        file = version / f"{name}.duckdb_extension"
        if file.is_file():
            return file
    return None


def explain(error: duckdb.Error, address: LakeAddress) -> StoreError:
    """The error of DuckDB as one of ours: which part of the lake is away, and what to look at."""
    first = str(error).strip().splitlines()[0]
    for secret in (address.login.get("PASSWORD"), address.s3.get("SECRET")):
        first = first.replace(secret, "…") if secret else first
    hint = "see `servescope doctor`"
    if "does not match existing data path" in first:
        hint = "give store.lake_data as the first server did"
    elif "Unable to connect to Postgres" in first:
        first = first.split("Unable to connect to Postgres")[1].split(": ", 1)[-1]
        first = f"PostgreSQL cannot be used: {first}"
        hint = "is it running, and do store.lake and PGPASSWORD fit?"
    elif "HTTP" in first or "s3://" in first:
        hint = "does the bucket exist, and do AWS_ENDPOINT_URL and the AWS_ keys fit?"
    return StoreError(first, where=address.text, hint=hint)


@contextmanager
def _first_turn(connection: Connection, address: LakeAddress) -> Iterator[None]:
    """Two servers that make a new lake at once would make the catalogue's tables twice."""
    if not address.is_shared:
        yield
        return
    connection.execute(f"ATTACH '' AS lake_door (TYPE postgres, SECRET {_CATALOG_SECRET})")
    door = connection.cursor()
    try:
        door.execute("BEGIN")
        wait_for_turn(door, "lake_door", address.schema, TURN_SECONDS)
        yield
    finally:
        door.close()
        connection.execute("DETACH lake_door")


def _secrets(connection: Connection, address: LakeAddress) -> None:
    for kind, options in (("postgres", address.login), ("s3", address.s3)):
        if options:
            name = _CATALOG_SECRET if kind == "postgres" else "lake_files"
            connection.execute(f"CREATE SECRET {name} (TYPE {kind}, {_secret_text(options)})")


def _secret_text(options: Mapping[str, str]) -> str:
    plain = {"USE_SSL"}
    return ", ".join(
        f"{name} {value}" if name in plain else f"{name} '{_quoted(value)}'"
        for name, value in options.items()
    )


def _options(address: LakeAddress) -> str:
    options = {"DATA_PATH": address.data, "METADATA_SCHEMA": address.schema}
    if address.is_shared:
        options["META_SECRET"] = _CATALOG_SECRET
    texts = [f"{name} '{_quoted(value)}'" for name, value in options.items()]
    return ", ".join([*texts, f"DATA_INLINING_ROW_LIMIT {INLINED_ROWS}"])


def _quoted(text: str) -> str:
    return text.replace("'", "''")
