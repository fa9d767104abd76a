"""How a command reaches the numbers: through the server that holds the store, or the file itself.

Both ways answer with the same plain documents, made by the same code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import httpx2

from servescope.cli.output import CommandError, ExitCode
from servescope.cli.server_way import Way, way_to
from servescope.config import Config, store_path
from store.errors import InputError

if TYPE_CHECKING:
    from servescope.runtime import Runtime

HEALTH_SECONDS = 2.0
ANSWER_SECONDS = 120.0
API = "/api/v1"

Document = dict[str, Any]


class Access(Protocol):
    """What commands ask for."""

    def view(
        self, name: str, params: Mapping[str, str], options: Mapping[str, str] | None = None
    ) -> Document:
        """A view as a document (`servescope.documents.view_document`)."""
        ...

    def sources(self) -> list[Document]:
        """All sources."""
        ...

    def sql(self, text: str) -> Document:
        """Columns, rows and whether rows were left out."""
        ...

    def analysis(
        self, params: Mapping[str, str], against: str | None, *, as_lines: bool
    ) -> Document:
        """The workload as one document: its numbers, or `lines` that say it in words."""
        ...


class FileAccess:
    """Over a store that this process opened.

    Args:
        runtime: the open store.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def view(
        self, name: str, params: Mapping[str, str], options: Mapping[str, str] | None = None
    ) -> Document:
        """A view as a document."""
        from servescope.documents import plain, view_document

        view = self.runtime.view(name, params, options)
        document: Document = plain(view_document(view, self.runtime.catalog()))
        return document

    def sources(self) -> list[Document]:
        """All sources."""
        from servescope.documents import plain, source_document

        return [plain(source_document(source)) for source in self.runtime.catalog()]

    def sql(self, text: str) -> Document:
        """Read-only SQL."""
        from servescope.documents import plain
        from store import adhoc

        result = adhoc.query(self.runtime.database, text)
        found: Document = plain(
            {
                "truncated": result.truncated,
                "truncated_why": result.truncated_why,
                "seconds": result.seconds,
                "columns": result.frame.columns,
                "rows": result.frame.to_dicts(),
            }
        )
        return found

    def analysis(
        self, params: Mapping[str, str], against: str | None, *, as_lines: bool
    ) -> Document:
        """The workload as one document."""
        from servescope.documents import plain
        from servescope.workload import analysis

        document: Document = plain(analysis(self.runtime, params, against, as_lines=as_lines))
        return document


class ServerAccess:
    """Over the API of a running server.

    Args:
        url: where it answers.
        client: connections; closed by whoever made it.
    """

    def __init__(self, url: str, client: httpx2.Client) -> None:
        self.url = url
        self.client = client

    def close(self) -> None:
        """Give its connections back."""
        self.client.close()

    def view(
        self, name: str, params: Mapping[str, str], options: Mapping[str, str] | None = None
    ) -> Document:
        """A view as a document."""
        return self.get(f"/views/{quote(name, safe='')}", {**params, **(options or {})})

    def sources(self) -> list[Document]:
        """All sources."""
        found: list[Document] = self.get("/sources", {})["sources"]
        return found

    def sql(self, text: str) -> Document:
        """Read-only SQL."""
        return self.send("POST", "/sql", json={"sql": text})

    def analysis(
        self, params: Mapping[str, str], against: str | None, *, as_lines: bool
    ) -> Document:
        """The workload as one document."""
        options = {"against": against} if against else {}
        return self.get("/workload", {**params, **options, "lines": str(as_lines).lower()})

    def get(self, path: str, params: Mapping[str, str]) -> Document:
        """A document of the API."""
        return self.send("GET", path, params=dict(params))

    def send(self, method: str, path: str, **more: Any) -> Document:
        """A document of the API.

        Raises:
            CommandError: the server is gone, or answered with a problem.
        """
        try:
            answer = self.client.request(method, f"{self.url}{API}{path}", **more)
        except httpx2.HTTPError as error:
            raise unreachable(self.url, error) from error
        if answer.status_code >= 400:
            raise refused(answer)
        document: Document = answer.json()
        return document


def unreachable(url: str, error: Exception) -> CommandError:
    """The server does not answer."""
    return CommandError(
        f"no answer ({type(error).__name__}: {error})", ExitCode.UNREACHABLE,
        where=url, hint="is `servescope up` running?", code="unreachable",
    )  # fmt: skip


def refused(answer: httpx2.Response) -> CommandError:
    """What a problem document of the server means here."""
    try:
        told = json.loads(answer.read())
    except ValueError:
        told = {}
    detail = told.get("detail", f"HTTP {answer.status_code}")
    code = told.get("code", "server")
    exits = {
        400: ExitCode.USAGE,
        401: ExitCode.REFUSED,
        403: ExitCode.REFUSED,
        404: ExitCode.USAGE,
        422: ExitCode.USAGE,
    }
    exit_code = exits.get(answer.status_code, ExitCode.FAILED)
    return CommandError(detail, exit_code, hint=told.get("hint"), code=code)


def server_of(path: Path) -> str | None:
    """The URL of the server that holds the store at `path`; None when none answers for it.

    Where the environment names a server it is that one, whatever store it holds.

    Raises:
        CommandError: the token that the environment names cannot be read.
    """
    way = way_to(path)
    if way is None or way.is_remote:
        return way.url if way else None
    try:
        with way.client(HEALTH_SECONDS) as client:
            told = client.get(f"{way.url}{API}/health").json()
    except (ValueError, httpx2.HTTPError):
        return None
    return way.url if told.get("store") == str(path.absolute()) else None


@contextmanager
def opened(config: Config, *, must_exist: bool = True) -> Iterator[Access]:
    """The way to the store of `config`.

    Args:
        config: settings.
        must_exist: whether a store that is not there is an error rather than an empty one.

    Raises:
        InputError: there is no store.
        StoreError: it cannot be opened.
    """
    path = store_path(config)
    url = server_of(path)
    with ExitStack() as stack:
        if url is not None:
            yield stack.enter_context(server_client(url, path))
            return
        if must_exist and not config.store.lake and not path.exists():
            raise InputError(
                "there is no store yet", where=str(path),
                hint="`servescope import FILE` makes one; --store names another",
            )  # fmt: skip
        yield FileAccess(open_file(config, path, stack))


def open_file(
    config: Config, path: Path | None, stack: ExitStack, *, allow_files: bool = False
) -> Runtime:
    """Open the store itself; `stack` closes it.

    Args:
        config: settings.
        path: the file; None is memory.
        stack: what closes it.
        allow_files: whether its SQL may read files, for imports.

    Raises:
        StoreError: it cannot be opened.
    """
    from servescope import slo_history
    from servescope.config import slo_path, store_settings
    from servescope.runtime import Runtime, SloBook
    from store.clock import WallClock
    from store.database import Database

    clock = WallClock()
    database = Database.open(path, store_settings(config, path), clock, allow_files=allow_files)
    stack.enter_context(database)
    slos = SloBook(slo_path(config), clock)
    slos.keep_history(partial(slo_history.keep, database))
    return Runtime(config, database, clock, slos)


def the_server(config: Config) -> ServerAccess:
    """The running server, for what only it can do.

    Raises:
        CommandError: none runs.
    """
    path = store_path(config)
    url = server_of(path)
    if url is None:
        raise CommandError(
            "no server holds this store", ExitCode.UNREACHABLE, where=str(path),
            hint="start one with `servescope up`", code="unreachable",
        )  # fmt: skip
    return ServerAccess(url, _client(url, path))


@contextmanager
def server_client(url: str, path: Path) -> Iterator[ServerAccess]:
    """The way to a server that is known to run.

    Args:
        url: where it answers.
        path: of its store; beside it lies what commands of its own user show.
    """
    with _client(url, path) as client:
        yield ServerAccess(url, client)


def _client(url: str, path: Path) -> httpx2.Client:
    return (way_to(path) or Way(url)).client(ANSWER_SECONDS)
