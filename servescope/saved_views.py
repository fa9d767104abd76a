"""Saved views as text files: `views/NAME.toml` beside the configuration.

    title = "Night shift"
    page = "slo/chat-ttft"

    [state]
    from = "now-12h"
    model = "llama-3.3-70b"

People may write them, keep them under version control and hand them on; the dashboard lists them
and adds to them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dashboard.saved_views import SavedView
from store import toml
from store.errors import ConfigError, InputError

MOST_FILES = 200
MOST_BYTES = 16_384
MOST_TITLE = 60
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_KEY = re.compile(r"[A-Za-z0-9_-]{1,40}")


Seen = Callable[[Mapping[str, str]], Mapping[str, str]]


class SavedViews:
    """The folder of saved views, read anew each time: whoever edits a file sees it at once.

    Args:
        folder: made when the first view is saved.
        seen: the state of a page as whoever asks may see it.
        noted: is told what was done and to which view.
    """

    def __init__(
        self, folder: Path, seen: Seen = lambda params: params,
        noted: Callable[[str, str], None] = lambda action, name: None,
    ) -> None:  # fmt: skip
        self.folder, self._seen, self._noted = folder, seen, noted

    def listed(self) -> list[SavedView]:
        """All of them by title; a file with a mistake is listed with what is wrong with it."""
        if not self.folder.is_dir():
            return []
        files = sorted(self.folder.glob("*.toml"))[:MOST_FILES]
        views = (_listed(file) for file in files)
        shown = [replace(view, params=dict(self._seen(view.params))) for view in views]
        return sorted(shown, key=lambda view: view.title.lower())

    def get(self, name: str) -> SavedView:
        """One of them.

        Raises:
            InputError: there is none of that name.
            ConfigError: its file has a mistake.
        """
        file = self._file(name)
        if not file.is_file():
            known = ", ".join(view.name for view in self.listed()) or "none"
            raise InputError(f"no view is saved as '{name[:60]}'", hint=f"there are: {known}")
        return read(file)

    def save(self, title: str, path: Sequence[str], params: Mapping[str, str]) -> SavedView:
        """Write a new file.

        Args:
            title: what people call it; its file is named after it.
            path: of the page.
            params: state of the page.

        Raises:
            InputError: no usable title, one of that name, too many, or too much to say.
        """
        title = " ".join(title.split())
        name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60].strip("-")
        if not name or len(title) > MOST_TITLE:
            raise InputError(
                "this is no name for a view", hint=f"take letters and digits, at most {MOST_TITLE}"
            )
        file = self._file(name)
        view = SavedView(name, title, tuple(path), dict(params))
        text = written(view)
        if len(text.encode()) > MOST_BYTES:
            raise InputError("this view has too much to say", hint="leave some filters out")
        if len(list(self.folder.glob("*.toml"))) >= MOST_FILES:
            raise InputError(f"there are {MOST_FILES} saved views", hint="delete some first")
        _write_new(file, text, title)
        self._noted("views.save", name)
        return view

    def delete(self, name: str) -> None:
        """Remove a file.

        Raises:
            InputError: there is none of that name.
        """
        file = self._file(name)
        if not file.is_file():
            raise InputError(f"no view is saved as '{name[:60]}'", hint="reload the page")
        file.unlink()
        self._noted("views.delete", name)

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InputError(f"'{name[:60]}' names no saved view")
        return self.folder / f"{name}.toml"


def _write_new(file: Path, text: str, title: str) -> None:
    """Whole or not at all, and never over another's."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
    except FileExistsError:
        raise InputError(
            f"a view is saved as '{title}' already", hint="take another name, or delete it first"
        ) from None
    except OSError as error:
        raise InputError(
            f"the view cannot be written: {error.strerror}", hint=f"look at {file.parent}"
        ) from None


def _listed(file: Path) -> SavedView:
    try:
        return read(file)
    except ConfigError as error:
        return SavedView(file.stem, file.stem, problem=error.message)


def read(file: Path) -> SavedView:
    """One file.

    Raises:
        ConfigError: it cannot be read, or holds something else than a saved view.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise _mistake(file, f"it has more than {MOST_BYTES} bytes")
        found = toml.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _mistake(file, str(error)) from None
    problem = _problem(found)
    if problem is not None:
        raise _mistake(file, problem)
    path = tuple(part for part in found.get("page", "").split("/") if part)
    return SavedView(file.stem, found.get("title", file.stem), path, found.get("state", {}))


def _mistake(file: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{file.name} is no saved view: {why}", hint="see docs/dashboard.md, Saved views"
    )


def _problem(found: Mapping[str, Any]) -> str | None:
    """What is wrong with the content of a file, or None."""
    unknown = sorted(set(found) - {"title", "page", "state"})
    if unknown:
        return f"unknown key '{unknown[0]}'"
    state = found.get("state", {})
    if not all(isinstance(found.get(name, ""), str) for name in ("title", "page")):
        return "title and page are texts"
    if not isinstance(state, dict) or not all(isinstance(value, str) for value in state.values()):
        return 'state is a table of texts, such as seeds = "5"'
    return None


def written(view: SavedView) -> str:
    """A view as the text of its file.

    Raises:
        InputError: something in it cannot stand in an address.
    """
    if any(not _KEY.fullmatch(key) for key in view.params):
        raise InputError("this address holds something that is no parameter")
    texts = [view.title, *view.path, *view.params.values()]
    if any(ord(letter) < 32 or ord(letter) == 127 for text in texts for letter in text):
        raise InputError("a view cannot hold control characters")
    if any("/" in part for part in view.path):
        raise InputError("this page cannot be saved: its name holds a slash")
    lines = [f"title = {_text(view.title)}", f"page = {_text('/'.join(view.path))}"]
    if view.params:
        lines += ["", "[state]", *(f"{key} = {_text(value)}" for key, value in view.params.items())]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    # Without control characters a JSON string is a basic string of TOML.
    return json.dumps(value, ensure_ascii=False)
