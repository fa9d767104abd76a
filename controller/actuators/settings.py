"""Settings of actuators: mappings (a table of the configuration) read into frozen dataclasses.

Every mistake is told at once, each with where it stands.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from store.errors import ControllerError
from store.nearest import nearest_hint

T = TypeVar("T")
_ENTRY = re.compile(r"^(\w+): (.+?)(?=^\w+: |\Z)", re.MULTILINE | re.DOTALL)
MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class SettingText:
    """One setting, for the documentation.

    Attributes:
        name: key.
        kind: of the value.
        default: as written in a configuration; None: it must be given.
        about: what it is.
    """

    name: str
    kind: str
    default: str | None
    about: str


def read(cls: type[T], given: Mapping[str, Any], where: str) -> T:
    """The dataclass `cls` from a mapping.

    Args:
        cls: a dataclass; its `__post_init__` may raise ValueError.
        given: keys and values.
        where: in front of what is wrong.

    Raises:
        ControllerError: unknown or missing keys, values of the wrong kind; all of them.
    """
    wrong = [*_strange(cls, given)]
    try:
        made = TypeAdapter(cls).validate_python(_known(cls, given))
    except ValidationError as error:
        for item in error.errors()[:MOST_TOLD]:
            key = ".".join(str(part) for part in item["loc"])
            text = item["msg"].removeprefix("Value error, ")
            wrong.append(f"{key}: {text}" if key else text)
        raise _error(wrong, where) from None
    if wrong:
        raise _error(wrong, where)
    return made


def described(cls: type[Any], defaults: object | None = None) -> tuple[SettingText, ...]:
    """What can be set, from the fields and the docstring of a dataclass.

    Args:
        cls: the dataclass.
        defaults: one of them, whose values are the defaults; None takes those of the fields.
    """
    doc = inspect.cleandoc(cls.__doc__ or "")
    section = re.split(r"^Attributes:\n", doc, maxsplit=1, flags=re.MULTILINE)[-1]
    texts = {
        name: " ".join(text.split())
        for name, text in _ENTRY.findall(inspect.cleandoc("\n" + section))
    }
    return tuple(
        SettingText(
            field.name,
            str(field.type),
            repr(getattr(defaults, field.name)) if defaults is not None else _default(field),
            texts.get(field.name, ""),
        )
        for field in dataclasses.fields(cls)
    )


def _default(field: dataclasses.Field[Any]) -> str | None:
    if field.default is not dataclasses.MISSING:
        return repr(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return repr(field.default_factory())
    return None


def _known(cls: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(cls)}
    return {key: value for key, value in given.items() if key in names}


def _strange(cls: type[Any], given: Mapping[str, Any]) -> Iterator[str]:
    names = [field.name for field in dataclasses.fields(cls)]
    for key in given:
        if key not in names:
            yield f"{key}: unknown; {nearest_hint(key, names)}"


def _error(wrong: list[str], where: str) -> ControllerError:
    return ControllerError("; ".join(wrong), where=where, hint="see docs/actuators.md")


def check_url(name: str, url: str) -> None:
    """Raise ValueError for what is no URL of HTTP."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{name} is '{url}', it must begin with http:// or https://")


def check_positive(name: str, seconds: float) -> None:
    """Raise ValueError for what is no time to wait."""
    if not seconds > 0:
        raise ValueError(f"{name} must be above 0")
