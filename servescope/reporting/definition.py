"""A schedule as it is written: what is made, when, in which forms, and who gets it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from analysis.timetable import Timetable, timetable
from store.errors import InputError
from store.nearest import nearest_hint

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
FORMS = ("html", "pdf", "json", "csv", "md")
RESERVED = ("new",)
"""Names that pages have for something else."""
SCOPE = ("source", "model", "tenant", "route", "instance")
MOST_TEXT = 500
MOST_NAMES = 50


@dataclass(frozen=True, slots=True)
class Definition:
    """A schedule.

    Attributes:
        name: lower-case letters, digits, dashes; names the folder of its files, too.
        template: of the report.
        when: words or cron.
        zone: IANA name, in which the period lies, too.
        formats: forms of the files.
        channels: names of channels.
        recipients: addresses for e-mail; empty means those of the channel.
        scope: query parameters, without times.
        enabled: False rests, until somebody changes it where it is written.
    """

    name: str
    template: str
    when: str
    zone: str = "UTC"
    formats: tuple[str, ...] = ("html",)
    channels: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    scope: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True

    def timetable(self) -> Timetable:
        """When it is due."""
        return timetable(self.when, self.zone)

    def document(self) -> dict[str, Any]:
        """As plain values, which `read` understands."""
        return {key: list(value) if isinstance(value, tuple) else value
                for key, value in asdict(self).items()}  # fmt: skip


_KEYS = tuple(Definition.__dataclass_fields__)
_LISTS = ("formats", "channels", "recipients")


def read(table: Mapping[str, Any]) -> Definition:
    """Read a schedule and check everything about it that it says by itself.

    Args:
        table: from a file, a form or a request; nothing of it is taken for granted.

    Raises:
        InputError: naming the schedule and the key.
    """
    name = table.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
        raise InputError(
            f"'{name}' cannot name a schedule" if name else "a schedule needs a name",
            hint="lower-case letters, digits and dashes, at most 40",
        )
    try:
        return _read(name, table)
    except InputError as error:
        where = f"report schedule {name}"
        raise InputError(error.message, where=where, hint=error.hint) from error


def _read(name: str, table: Mapping[str, Any]) -> Definition:
    for key in table:
        if key not in _KEYS:
            raise InputError(f"no setting {key}", hint=nearest_hint(str(key), _KEYS))
    lists = {key: _texts(table[key], key) for key in _LISTS if key in table}
    found = Definition(
        name, _text(table, "template"), _text(table, "when"),
        zone=_text(table, "zone", "UTC"), scope=_scope(table.get("scope", {})),
        enabled=_switch(table.get("enabled", True)), **lists,
    )  # fmt: skip
    for form in found.formats:
        if form not in FORMS:
            raise InputError(f"no report can be made as '{form}'", hint=nearest_hint(form, FORMS))
    if not found.formats:
        raise InputError("formats names nothing", hint=f"some of: {', '.join(FORMS)}")
    found.timetable()
    return found


def _text(table: Mapping[str, Any], key: str, usual: str = "") -> str:
    value = table.get(key, usual)
    if not isinstance(value, str) or not value.strip() or len(value) > MOST_TEXT:
        raise InputError(f"{key} must be a text")
    return value.strip()


def _texts(value: Any, key: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    is_right = isinstance(value, list | tuple) and len(value) <= MOST_NAMES
    if not is_right or not all(isinstance(one, str) and len(one) <= MOST_TEXT for one in value):
        raise InputError(f"{key} must be a list of at most {MOST_NAMES} texts")
    return tuple(dict.fromkeys(filter(None, map(str.strip, value))))


def _scope(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise InputError("scope must be a table", hint='scope = { model = "llama-70b" }')
    for key, one in value.items():
        if key not in SCOPE:
            hint = "the period is that of the template" if key in ("from", "to") else nearest_hint(
                str(key), SCOPE
            )  # fmt: skip
            raise InputError(f"scope has no {key}", hint=hint)
        if not isinstance(one, str) or len(one) > MOST_TEXT:
            raise InputError(f"scope.{key} must be a text")
    return {key: one for key, one in value.items() if one}


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError("enabled must be true or false")
    return value


def changes_time(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a change of a schedule moves when it is due: what it missed before does not count."""
    return any(old.get(key) != new.get(key) for key in ("when", "zone", "template"))
