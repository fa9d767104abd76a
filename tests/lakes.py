"""Lakes for tests: a folder for the files, and a catalogue in PostgreSQL or in a file.

`pytest --store lake` (or `lake-file`, which needs no PostgreSQL) runs what opens a store on a lake
instead. A schema is made once and copied for each store, which costs a tenth.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path

from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

OPEN = Database.open.__func__
_BINARIES = Path("/usr/lib/postgresql")


def why_not(kind: str) -> str | None:
    """What is missing for lakes of this kind (lake, lake-file); None when nothing is."""
    packages = ["ducklake", *(["postgres_scanner"] if kind == "lake" else [])]
    missing = [p for p in packages if importlib.util.find_spec(f"duckdb_extension_{p}") is None]
    if missing:
        return f"needs DuckDB's extension {missing[0]}: pip install 'servescope[lake]'"
    if kind == "lake" and postgres_folder() is None:
        return "needs PostgreSQL: apt-get install postgresql"
    return None


def postgres_folder() -> Path | None:
    """The newest PostgreSQL's programs; None when there is none."""
    found = shutil.which("initdb")
    places = (
        [Path(found).resolve().parent] if found else sorted(_BINARIES.glob("*/bin"), reverse=True)
    )
    return next((place for place in places if (place / "initdb").exists()), None)


class Postgres:
    """A PostgreSQL of our own on a loopback port, in a folder of its own.

    PostgreSQL does not run as root, and pytest's folders are for their owner alone.
    """

    def __init__(self) -> None:
        self.folder = folder = Path(tempfile.mkdtemp(prefix="servescope-postgres-"))
        self._bin = postgres_folder()
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._as:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
        self._run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "postgres", "-N")
        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))
            self.port = int(door.getsockname()[1])
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1"
            f" -c unix_socket_directories={self.folder} -c fsync=off -c max_connections=200"
        )
        log = str(self.folder / "log")
        self._run(
            "pg_ctl", "-D", str(self.folder / "data"), "-o", options, "-l", log, "-w", "start"
        )

    def stop(self) -> None:
        """Stop at once; what was committed is kept."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")

    def url(self, database: str) -> str:
        """What `store.lake` names."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def sql(self, text: str) -> str:
        """Run a statement in the database `postgres`."""
        login = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        return self._run("psql", *login, "-AtXq", "-c", text)

    def _run(self, program: str, *arguments: str) -> str:
        command = [*self._as, str(self._bin / program), *arguments]
        # A server that is started keeps a pipe open for ever.
        out = subprocess.PIPE if program == "psql" else subprocess.DEVNULL
        done = subprocess.run(
            command, cwd="/", stdout=out, stderr=out, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, (program, done.stderr)
        return done.stdout or ""


class Lakes:
    """Makes lakes: all with their files in one folder, each with a catalogue of its own."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        self.postgres = Postgres() if kind == "lake" else None
        self._of: dict[Path, str] = {}
        if self.postgres is not None:
            self.postgres.sql("CREATE DATABASE lake_template")
        self._template = self._catalog("lake_template")
        OPEN(Database, None, self.settings(self._template), WallClock()).close()

    def settings(self, catalog: str, settings: StoreSettings | None = None) -> StoreSettings:
        """The settings of a store on the lake with this catalogue."""
        data = str(self.folder / "files")
        return dataclasses.replace(settings or StoreSettings(), lake=catalog, lake_data=data)

    def new(self) -> str:
        """The catalogue of a new lake."""
        name = f"lake_{uuid.uuid4().hex}"
        if self.postgres is not None:
            self.postgres.sql(f"CREATE DATABASE {name} TEMPLATE lake_template STRATEGY FILE_COPY")
        else:
            shutil.copy(self._template, self._catalog(name))
        return self._catalog(name)

    def open(self, path=None, settings=None, clock=None, *, allow_files=False) -> Database:
        """What `Database.open` does, on a lake; a path is one lake however often it is opened."""
        catalog = self._of.get(path) or self.new()
        if path is not None:
            self._of[path] = catalog
        chosen = self.settings(catalog, settings)
        return OPEN(Database, path, chosen, clock or WallClock(), allow_files=allow_files)

    def close(self) -> None:
        """Stop PostgreSQL, and remove what it kept."""
        if self.postgres is not None:
            self.postgres.stop()
            shutil.rmtree(self.postgres.folder, ignore_errors=True)

    def _catalog(self, name: str) -> str:
        return self.postgres.url(name) if self.postgres else str(self.folder / f"{name}.ducklake")
