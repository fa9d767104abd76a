"""Channels by their tables `[[reports.channel]]`: each kind with what it needs and may have."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from servescope.reporting.channels.base import Channel
from servescope.reporting.channels.chat import BODIES, Chat
from servescope.reporting.channels.email import SECURITIES, Mailbox
from servescope.reporting.channels.folder import Folder
from servescope.reporting.channels.s3 import Bucket
from store.clock import Clock
from store.errors import ConfigError
from store.nearest import nearest_hint

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
Table = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of channel.

    Attributes:
        needs: keys that must be set.
        may: keys that may be set, with an example of their type.
        make: table to channel.
    """

    needs: Mapping[str, Any]
    may: Mapping[str, Any]
    make: Callable[[Table, Clock], Channel]


def _chat(table: Table, clock: Clock) -> Channel:
    return Chat(
        table["name"], table["kind"], table["webhook"], BODIES[table["kind"]], clock,
        table.get("token", ""), table.get("ca_file", ""),
    )  # fmt: skip


def _mailbox(table: Table, clock: Clock) -> Channel:
    if table.get("security", "starttls") not in SECURITIES:
        raise ValueError(f"security must be {', '.join(SECURITIES)}")
    more = {key: value for key, value in table.items() if key not in ("name", "kind", "from")}
    found = Mailbox(name=table["name"], sender=table["from"], clock=clock, **more)
    if not found.to and not found.allow:
        raise ValueError("`to` or `allow` must say whom it may write to")
    return found


def _bucket(table: Table, clock: Clock) -> Channel:
    if not table["endpoint"].startswith(("https://", "http://")):
        raise ValueError("endpoint is an address such as https://s3.eu-central-1.amazonaws.com")
    return Bucket(clock=clock, **{key: value for key, value in table.items() if key != "kind"})


def _folder(table: Table, clock: Clock) -> Channel:
    del clock
    return Folder(table["name"], table["folder"])


_TEXTS: Sequence[str] = ("",)
_WEBHOOK = Kind({"webhook": ""}, {"ca_file": ""}, _chat)
KINDS: Mapping[str, Kind] = {
    "email": Kind(
        {"host": "", "from": ""},
        {"to": _TEXTS, "allow": _TEXTS, "port": 0, "security": "", "user": "", "password": "",
         "most_bytes": 0, "ca_file": ""},
        _mailbox,
    ),
    "slack": _WEBHOOK,
    "teams": _WEBHOOK,
    "mattermost": _WEBHOOK,
    "webhook": Kind({"webhook": ""}, {"token": "", "ca_file": ""}, _chat),
    "s3": Kind(
        {"endpoint": "", "bucket": ""},
        {"prefix": "", "region": "", "access_key": "", "secret_key": "", "ca_file": ""},
        _bucket,
    ),
    "file": Kind({"folder": ""}, {}, _folder),
}  # fmt: skip


def channels(tables: Sequence[Table], clock: Clock) -> dict[str, Channel]:
    """All channels, by name.

    Raises:
        ConfigError: a table cannot be one; names the table and the key.
    """
    made: dict[str, Channel] = {}
    for number, table in enumerate(tables, 1):
        channel = _channel(table, f"reports.channel {table.get('name') or number}", clock)
        if channel.name in made:
            raise ConfigError(
                "two channels have this name", where=f"reports.channel {channel.name}"
            )
        made[channel.name] = channel
    return made


def _channel(table: Table, where: str, clock: Clock) -> Channel:
    name, kind = table.get("name"), str(table.get("kind"))
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError("name must be lower-case letters, digits, dots, dashes", where=where)
    if kind not in KINDS:
        hint = nearest_hint(kind, KINDS)
        raise ConfigError(f"there is no kind '{kind}'", where=where, hint=hint)
    _check_keys(table, KINDS[kind], where)
    try:
        return KINDS[kind].make(table, clock)
    except ValueError as error:
        raise ConfigError(str(error), where=where) from error


def _check_keys(table: Table, kind: Kind, where: str) -> None:
    known = {**kind.needs, **kind.may}
    for key in sorted(set(table) - {"name", "kind"}):
        if key not in known:
            raise ConfigError(f"no setting {key}", where=where, hint=nearest_hint(key, known))
        _check(table[key], known[key], f"{where}: {key}")
    for key in kind.needs:
        if not table.get(key):
            raise ConfigError(f"{key} is needed", where=where)


def _check(value: Any, example: Any, where: str) -> None:
    if isinstance(example, tuple):
        is_right = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
        said = "a list of texts"
    elif isinstance(example, int):
        is_right, said = isinstance(value, int) and not isinstance(value, bool), "a number"
    else:
        is_right, said = isinstance(value, str), "a text"
    if not is_right:
        raise ConfigError(f"must be {said}", where=where)
