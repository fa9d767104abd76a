"""What a report contains, as text: kind, title, sections in order, scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from analysis.reports.periods import KINDS
from store import toml
from store.errors import InputError
from store.nearest import nearest_hint

BUILT_IN = KINDS
LABELS = ("source", "model", "tenant", "route", "instance")
_KEYS = ("kind", "title", "sections", "scope")
MOST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Template:
    """What a report contains.

    Attributes:
        name: of the file, without its ending.
        kind: "daily", "weekly", "monthly" or "incident": how long a period is.
        title: for people.
        sections: keys of `analysis.reports.sections.SECTIONS`, in order.
        scope: query parameters such as {"model": "llama-70b"}; never a time.
    """

    name: str
    kind: str
    title: str
    sections: tuple[str, ...]
    scope: Mapping[str, str] = field(default_factory=dict)


def read(text: str, name: str, known: Sequence[str]) -> Template:
    """A template from its text.

    Args:
        text: TOML.
        name: what it is called; also where an error is.
        known: the sections there are.

    Raises:
        InputError: it is no TOML, or has a key, a kind or a section that there is not; the hint
            names the nearest.
    """
    try:
        table = toml.loads(text)
    except toml.TomlError as error:
        raise InputError(f"this is no TOML: {error}", where=name) from error
    for key in table:
        _known(str(key), _KEYS, "key", name)
    kind = _text(table, "kind", name)
    _known(kind, KINDS, "kind of report", name)
    sections = table.get("sections")
    if not isinstance(sections, list) or not sections:
        raise InputError(
            "no section is named", where=name, hint=f"sections = [...]; there are: {_all(known)}"
        )
    for section in sections:
        _known(str(section), known, "section", name)
    if len(set(sections)) < len(sections):
        raise InputError("a section is named twice", where=name)
    title = _text(table, "title", name) if "title" in table else f"{kind.capitalize()} report"
    return Template(name, kind, title, tuple(sections), _scope(table, name))


def _scope(table: Mapping[str, Any], name: str) -> dict[str, str]:
    scope = table.get("scope", {})
    if not isinstance(scope, dict):
        raise InputError("scope is a table", where=name, hint='[scope] and then model = "…"')
    for key, value in scope.items():
        _known(str(key), LABELS, "key of [scope]", name)
        if not isinstance(value, str):
            raise InputError(f"scope.{key} is no text", where=name, hint="several: commas between")
    return {key: value for key, value in scope.items() if value}


def _text(table: Mapping[str, Any], key: str, name: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{key} is missing or no text", where=name, hint=f'{key} = "…"')
    return value.strip()


def _known(found: str, known: Sequence[str], what: str, where: str) -> None:
    if found not in known:
        raise InputError(
            f"there is no {what} '{found[:60]}'", where=where, hint=nearest_hint(found, known)
        )


def _all(names: Sequence[str]) -> str:
    return ", ".join(names)


def built_in(name: str) -> str:
    """The text of a built-in template."""
    return (resources.files("analysis.reports") / "templates" / f"{name}.toml").read_text("utf-8")


def names(folder: Path | None) -> tuple[str, ...]:
    """Templates there are: those of the folder and the built-in ones, by name."""
    own = [file.stem for file in sorted(folder.glob("*.toml"))] if folder else []
    return tuple(dict.fromkeys([*BUILT_IN, *own]))


def find(name: str, folder: Path | None, known: Sequence[str]) -> Template:
    """The template of a name: the folder's own first, so that a built-in one can be replaced.

    Args:
        name: what was asked for.
        folder: where the user's templates are; None has none.
        known: the sections there are.

    Raises:
        InputError: there is none, or it has mistakes.
    """
    listed = names(folder)
    if name not in listed:
        raise InputError(
            f"there is no report template '{name[:60]}'",
            hint=nearest_hint(name, listed, lists_all=True),
        )
    file = folder / f"{name}.toml" if folder else None
    if file is not None and file.is_file():
        return replace(read(_file_text(file), str(file), known), name=name)
    return read(built_in(name), name, known)


def _file_text(file: Path) -> str:
    try:
        data = file.read_bytes()
        if len(data) > MOST_BYTES:
            raise InputError(f"it is longer than {MOST_BYTES:,} bytes", where=str(file))
        return data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(file)) from error
