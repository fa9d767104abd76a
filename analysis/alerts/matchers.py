"""Silences as Alertmanager means them: matchers, a start, an end, who, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from store.errors import InputError

MOST_MATCHERS = 20
MOST_TEXT = 500
_TEXT = re.compile(r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Matcher:
    """What a label must be; a label that is missing counts as empty.

    Attributes:
        name: of the label.
        value: text, or a regular expression that the whole value must match.
        is_regex: whether it is one.
        is_equal: False turns it round.
    """

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a set of labels fits."""
        told = labels.get(self.name, "")
        fits = _pattern(self.value).fullmatch(told) is not None if self.is_regex else (
            told == self.value
        )  # fmt: skip
        return fits is self.is_equal

    def __str__(self) -> str:
        """As people write it: `model=~"llama.*"`."""
        sign = (
            ("=~" if self.is_equal else "!~") if self.is_regex else "=" if self.is_equal else "!="
        )
        quoted = self.value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{self.name}{sign}"{quoted}"'

    def document(self) -> dict[str, Any]:
        """As Alertmanager's API writes it."""
        return {
            "name": self.name, "value": self.value, "isRegex": self.is_regex,
            "isEqual": self.is_equal,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody is told of alerts that match, for a while.

    Attributes:
        silence_id: unique, for good.
        matchers: all must fit.
        starts_at: aware UTC.
        ends_at: aware UTC, exclusive.
        created_by: who.
        comment: why.
        origin: "" when it was made here; else the receiver it was read from.
    """

    silence_id: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str
    origin: str = ""

    def covers(self, labels: Mapping[str, str], now: datetime) -> bool:
        """Whether alerts with these labels are silenced now."""
        return self.is_active(now) and all(one.matches(labels) for one in self.matchers)

    def is_active(self, now: datetime) -> bool:
        """Whether it holds now."""
        return self.starts_at <= now < self.ends_at


def covering(
    silences: Iterable[Silence], labels: Mapping[str, str], now: datetime
) -> Silence | None:
    """The silence that covers these labels for longest; None where none does."""
    found = [silence for silence in silences if silence.covers(labels, now)]
    return max(found, key=lambda silence: silence.ends_at) if found else None


def parse_matcher(text: str) -> Matcher:
    """Read `model="a"`, `model=a`, `model!=a`, `model=~"a|b"` or `model!~a`.

    Raises:
        InputError: it is none of these, or the expression is none.
    """
    found = _TEXT.fullmatch(text)
    if found is None or len(text) > MOST_TEXT:
        raise InputError(
            f"'{text[:80]}' is no matcher", hint='write it as model="llama" or model=~"llama.*"'
        )
    name, sign, value = found.groups()
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    return _checked(Matcher(name, value, "~" in sign, "!" not in sign))


def matcher_of(document: Any) -> Matcher:
    """Read a matcher of Alertmanager's API.

    Raises:
        InputError: it is none.
    """
    if isinstance(document, str):
        return parse_matcher(document)
    if not isinstance(document, Mapping) or not isinstance(document.get("name"), str):
        raise InputError("a matcher needs name, value, isRegex and isEqual")
    value = document.get("value", "")
    if not isinstance(value, str) or len(value) > MOST_TEXT:
        raise InputError(f"the value of the matcher on '{document['name']}' is no short text")
    is_regex, is_equal = document.get("isRegex", False), document.get("isEqual", True)
    return _checked(Matcher(document["name"], value, bool(is_regex), bool(is_equal)))


def checked_silence(silence: Silence, now: datetime) -> Silence:
    """The silence, if it makes sense: all five fields, an end to come, and not all there is.

    Raises:
        InputError: saying what is missing.
    """
    if not silence.created_by.strip() or not silence.comment.strip():
        raise InputError("a silence needs who made it and why", hint="give createdBy and comment")
    if not silence.matchers or len(silence.matchers) > MOST_MATCHERS:
        raise InputError(f"a silence needs 1 to {MOST_MATCHERS} matchers")
    if all(matcher.matches({}) for matcher in silence.matchers):
        raise InputError(
            "these matchers would silence everything",
            hint='one of them must ask for something, such as alertname="outage"',
        )
    if silence.ends_at <= max(silence.starts_at, now):
        raise InputError("a silence must end after it starts, and not before now")
    return silence


def matchers_text(matchers: Sequence[Matcher]) -> str:
    """Matchers as people read them."""
    return ", ".join(map(str, matchers))


def _checked(matcher: Matcher) -> Matcher:
    if matcher.is_regex:
        try:
            _pattern(matcher.value)
        except re.error as error:
            raise InputError(f"{matcher}: no regular expression ({error})") from error
    return matcher


@lru_cache(maxsize=512)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.DOTALL)
