"""What `servescope access` does: through the server, or on the store's file when none runs."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from servescope.cli import access
from servescope.cli.data import configured
from servescope.cli.output import Output
from servescope.config import Config, store_path
from store.errors import InputError

Document = dict[str, Any]
_USERS = ("name", "role", "signs in", "disabled", "last signed in", "since", "added by")
_TOKENS = ("token", "for", "scopes", "state", "until", "last used", "made by")
_SESSIONS = ("session", "user", "by", "from", "browser", "since", "ends")


class _Way(Protocol):
    """Asks for what stands below /access; see `servescope.api.people`."""

    def __call__(self, method: str, path: str, /, **body: Any) -> Document: ...


def run_users(store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Print all users."""
    told = _listed("users", store, config_file, as_json=as_json)
    _table(
        told, "users", _USERS,
        ("name", "role", "signs_in", "is_disabled", "signed_in_at", "created_at", "created_by"),
        "Nobody yet. `servescope access add NAME --role admin` adds somebody.",
    )  # fmt: skip


def run_tokens(store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Print all tokens."""
    told = _listed("tokens", store, config_file, as_json=as_json)
    _table(
        told, "tokens", _TOKENS,
        ("token_id", "name", "scopes", "state", "expires_at", "used_at", "created_by"),
        "None yet. `servescope access token NAME --scope ingest` makes one.",
    )  # fmt: skip


def run_sessions(store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Print who is signed in."""
    told = _listed("sessions", store, config_file, as_json=as_json)
    _table(
        told, "sessions", _SESSIONS,
        ("session_id", "user", "way", "address", "browser", "created_at", "ends_at"),
        "Nobody is signed in.",
    )  # fmt: skip


def run_add(
    name: str, role: str, password_file: Path | None, store: Path | None,
    config_file: Path | None, *, as_json: bool,
) -> None:  # fmt: skip
    """Add a user."""
    password = _password(password_file)
    told = _done("add", store, config_file, "POST", "/users", as_json=as_json,
                 name=name, role=role, password=password)  # fmt: skip
    told[0].line(f"{told[1]['name']} may sign in as {told[1]['role']}.")


def run_change(
    name: str, role: str | None, password_file: Path | None, disable: bool | None,
    store: Path | None, config_file: Path | None, *, wants_password: bool, as_json: bool,
) -> None:  # fmt: skip
    """Change a user."""
    password = _password(password_file) if wants_password else None
    out, user = _done(
        "change", store, config_file, "PATCH", f"/users/{quote(name, safe='')}", as_json=as_json,
        role=role, password=password, is_disabled=disable,
    )  # fmt: skip
    state = "may not sign in any more" if user["is_disabled"] else "may sign in"
    out.line(f"{user['name']} is {user['role']} and {state}.")


def run_remove(name: str, store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Forget a user."""
    path = f"/users/{quote(name, safe='')}"
    out, user = _done("remove", store, config_file, "DELETE", path, as_json=as_json)
    out.line(f"{user['name']} is gone.")


def run_token(
    name: str, scopes: Sequence[str], days: float | None, to: Path | None, store: Path | None,
    config_file: Path | None, *, as_json: bool,
) -> None:  # fmt: skip
    """Make a token.

    Raises:
        InputError: the file for it exists, or cannot be made.
    """
    file = _new_file(to) if to is not None else None
    out, token = _done(
        "token", store, config_file, "POST", "/tokens", as_json=as_json and file is None,
        name=name, scopes=list(scopes), days=days,
    )  # fmt: skip
    if file is None:
        out.line(token["token"])
        out.note("shown once: keep it where its program finds it (a file, mode 600)")
        return
    with os.fdopen(file, "w") as made:
        made.write(token["token"] + "\n")
    out.line(f"{to} holds the token {token['token_id']} ({', '.join(token['scopes'])}).")


def run_revoke(token: str, store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Revoke a token."""
    path = f"/tokens/{quote(token, safe='')}"
    out, told = _done("revoke", store, config_file, "DELETE", path, as_json=as_json)
    out.line(f"{told['token_id']} ({told['name']}) opens nothing any more.")


def run_end(session: str, store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """End a session."""
    path = f"/sessions/{quote(session, safe='')}"
    out, told = _done("end", store, config_file, "DELETE", path, as_json=as_json)
    out.line(f"{told['user']} is signed out of {told['address']}.")


def run_me(store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Print who asks."""
    out = Output(as_json=as_json)
    told = access.the_server(configured(store, config_file)).get("/access/me", {})
    out.document("access.me", told)
    kinds = {
        "everybody": "Nobody signs in here; everybody is",
        "local": "This machine's own user is",
        "nobody": "You have not signed in; you are",
    }
    who = kinds.get(told["kind"], f"You are {told['name']},")
    out.line(f"{who} {told['role']} ({told['set_by']}).")
    out.line(f"Doors: {', '.join(told['doors']) or 'none'}")


def _listed(what: str, store: Path | None, config_file: Path | None, *, as_json: bool) -> Any:
    out = Output(as_json=as_json)
    with _way(configured(store, config_file)) as ask:
        told = ask("GET", f"/{what}")
    out.document(f"access.{what}", told)
    return out, told[what]


def _table(
    listed: Any, what: str, titles: Sequence[str], columns: Sequence[str], nothing: str
) -> None:
    out, rows = listed
    if not rows:
        out.line(nothing)
        return
    out.table(titles, [[_cell(row[column]) for column in columns] for row in rows])


def _cell(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, list) else value


def _done(
    name: str, store: Path | None, config_file: Path | None, method: str, path: str, /, *,
    as_json: bool, **body: Any,
) -> tuple[Output, Document]:  # fmt: skip
    out = Output(as_json=as_json)
    with _way(configured(store, config_file)) as ask:
        told = ask(method, path, **body)
    out.document(f"access.{name}", told)
    return out, told


@contextmanager
def _way(config: Config) -> Iterator[_Way]:
    path, by = store_path(config), getpass.getuser()
    if access.server_of(path) is not None:
        server = access.the_server(config)

        def over_server(method: str, path: str, /, **body: Any) -> Document:
            if method in ("GET", "DELETE"):
                more: Document = {"params": {"by": by} if method == "DELETE" else {}}
            else:
                more = {"json": {**body, "by": by}}
            return server.send(method, f"/access{path}", **more)

        with server.client:
            yield over_server
        return
    with ExitStack() as stack:
        desk = access.open_file(config, path, stack).people.desk

        def here(method: str, path: str, /, **body: Any) -> Document:
            from servescope.access.local import answered
            from servescope.documents import plain

            found: Document = plain(answered(desk, by, method, path, body))
            return found

        yield here


def _password(file: Path | None) -> str:
    if file is not None:
        try:
            return file.read_text("utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot be read ({error})", where=str(file)) from error
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to ask for the password", hint="--password-file")
    first = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != first:
        raise InputError("the two are not the same", hint="try again")
    return first


def _new_file(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InputError(
            f"cannot be made ({error.strerror})", where=str(path), hint="name a new file"
        ) from error
