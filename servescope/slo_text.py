"""`slo.toml` from a page: its text, what a draft would have meant, and writing it.

The file stays the one truth, under version control. A draft is tried on what is stored; it is
written whole, and only over the text that its author has seen.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.slo_draft import compared
from analysis.slo_file import parse_slo_text
from analysis.slo_lint import Problem
from analysis.slo_model import Slo
from controller.refusals import Conflict
from store import audit
from store.errors import InputError
from store.queries.scope import join_values, split_values

if TYPE_CHECKING:
    from servescope.runtime import Runtime

MOST_BYTES = 256 << 10
"""Of a draft; a file written by hand may have a mebibyte."""
NO_FILE = "this server has no file of objectives"
HOW = "write one with `servescope slo init`, and start the server beside it or with --slo"

Document = dict[str, Any]


def read(runtime: Runtime) -> Document:
    """text, version (changes with the text), place, and the problem that keeps it out of force.

    Raises:
        InputError: there is no file, or it cannot be read.
    """
    path, text = _text(runtime)
    said, problem = runtime.veils.said, runtime.slos.problem
    return {
        "text": said(text), "version": version_of(text), "place": str(path),
        "problem": said(problem) if problem else None,
    }  # fmt: skip


def tried(runtime: Runtime, text: str, params: Mapping[str, str]) -> Document:
    """What a draft would have meant: `problems`, and `rows` as `analysis.slo_draft.SCHEMA` has.

    With mistakes there are no rows; warnings are only said.

    Raises:
        InputError: it is too long, or names a tenant where names are hidden.
    """
    slos, problems = _parsed(text)
    slos = tuple(_with_names(runtime, slo) for slo in slos)
    told = [
        {"where": one.where, "message": one.message, "hint": one.hint, "severity": one.severity}
        for one in problems
    ]
    if _mistakes(problems):
        return {"problems": told, "rows": []}
    scope = runtime.scope(params)
    frame = compared(runtime.database.reader, scope, runtime.slos.definitions(), slos)
    return {"problems": told, "rows": frame.to_dicts()}


def save(runtime: Runtime, text: str, seen: str, by: str, origin: str) -> Document:
    """Write a draft over the text of version `seen`, and put it in force.

    Raises:
        InputError: there is no file, it cannot be written, or the draft is too long or has
            mistakes; all of them are named.
        Conflict: somebody changed the file meanwhile.
    """
    path, before = _text(runtime)
    _, problems = _parsed(text)
    mistakes = _mistakes(problems)
    if mistakes:
        raise InputError("\n".join(map(str, mistakes)), hint="nothing was written")
    if seen != version_of(before):
        raise Conflict(
            f"{path.name} was changed meanwhile",
            {"version": version_of(before)},
            hint="reload the page, and make your change to the text as it is now",
        )
    _write(path, text)
    runtime.slos.load()
    at = runtime.clock.now()
    change = audit.Change(by, "slo.edit", str(path), {"version": seen},
                          {"version": version_of(text)}, origin)  # fmt: skip
    audit.note(runtime.database.writer, at, change).result()
    return read(runtime)


class SloDesk:
    """The same for pages.

    Args:
        runtime: of the server.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def read(self) -> Document:
        """See `read`."""
        return read(self._runtime)

    def tried(self, text: str, params: Mapping[str, str]) -> Document:
        """See `tried`."""
        return tried(self._runtime, text, params)

    def save(self, text: str, seen: str, by: str) -> Document:
        """See `save`."""
        return save(self._runtime, text, seen, by, "dashboard")


def _with_names(runtime: Runtime, slo: Slo) -> Slo:
    """An objective as whoever may see names would write it."""
    given = {"tenant": join_values(slo.match.tenants)}
    tenants = split_values(runtime.veils.params(given)["tenant"])
    return replace(slo, match=replace(slo.match, tenants=tuple(tenants)))


def version_of(text: str) -> str:
    """Sixteen hex digits that change with the text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _text(runtime: Runtime) -> tuple[Path, str]:
    path = runtime.slos.path
    if path is None:
        raise InputError(NO_FILE, hint=HOW)
    try:
        return path, path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the file of objectives cannot be read: {error}", hint=HOW) from error


def _parsed(text: str) -> tuple[tuple[Slo, ...], list[Problem]]:
    if len(text.encode()) > MOST_BYTES:
        raise InputError(f"a draft above {MOST_BYTES >> 10} KiB is refused", hint="write the file")
    return parse_slo_text(text, "draft")


def _mistakes(problems: list[Problem]) -> list[Problem]:
    return [one for one in problems if one.severity == "error"]


def _write(path: Path, text: str) -> None:
    """Whole or not at all; who may read the file stays who may."""
    beside = path.with_name(f".{path.name}.new")
    try:
        with beside.open("wb") as opened:
            opened.write(text.encode())
            opened.flush()
            os.fsync(opened.fileno())
        beside.chmod(path.stat().st_mode & 0o7777)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise InputError(
            f"{path} cannot be written ({error.strerror})",
            hint="change it where it is kept; the server reads it again by itself",
        ) from error
