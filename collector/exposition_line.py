"""One line of a metrics page, read from scratch: the grammar of the text formats.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (0.0.4 and 1.0.0) and
https://prometheus.io/docs/specs/om/open_metrics_spec/ (1.0).
"""

from __future__ import annotations

import contextlib
import math
import re

Labels = tuple[tuple[str, str], ...]

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*+")
# Possessive quantifiers: a line of ten million backslashes costs one pass.
_LABEL = re.compile(
    r'[ \t]*+(?:([a-zA-Z_][a-zA-Z0-9_]*+)|"((?:[^"\\]|\\.)*+)")[ \t]*+'
    r'(?:=[ \t]*+"((?:[^"\\]|\\.)*+)"[ \t]*+)?([,}])'
)
_LABELS_END = re.compile(r"[ \t]*+\}")
# What nearly every line looks like: no blanks, no escapes, a number behind one blank.
_PLAIN = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*+)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*+="[^"\\]*+",)*+'
    r'(?:[a-zA-Z_][a-zA-Z0-9_]*+="[^"\\]*+")?+)\})? ([0-9+.eE-]++)'
)
_PLAIN_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*+)="([^"]*+)"')
_ESCAPE = re.compile(r'\\([\\"n])')
_DESCRIPTION = re.compile(
    r'#[ \t]++(TYPE|UNIT)[ \t]++(?:"((?:[^"\\]|\\.)*+)"|(\S++))(?:[ \t]++(\S++))?[ \t\r]*+$'
)
_IS_DESCRIPTION = re.compile(r"#[ \t]++(?:TYPE|UNIT)[ \t]")
_HEX = re.compile(r"[+-]?0[xX]")
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}$")
_TYPES = frozenset(
    (
        *("counter", "gauge", "histogram", "summary", "untyped"),
        *("unknown", "info", "stateset", "gaugehistogram"),
    )
)


class BadLineError(Exception):
    """Why one line cannot be used."""


def plain_sample(line: str) -> tuple[str, str, Labels, float] | None:
    """Text of the series, name, labels and value of a line in the usual spelling, else None."""
    found = _PLAIN.fullmatch(line)
    if found is None or not line.isascii():
        return None
    name, inside, told = found.groups()
    try:
        value = float(told)
    except ValueError:
        return None
    key = line[: found.start(3) - 1]
    if not inside:
        return key, name, (), value
    pairs = _PLAIN_LABEL.findall(inside)
    if len(pairs) == 1:
        return key, name, tuple(pairs), value
    pairs.sort()
    told_twice = any(pairs[at][0] == pairs[at - 1][0] for at in range(1, len(pairs)))
    return None if told_twice else (key, name, tuple(pairs), value)


def description(text: str) -> tuple[str, str, str] | None:
    """("TYPE" or "UNIT", family, what it says) of a comment; None for other comments.

    Raises:
        BadLineError: it begins like one and is none.
    """
    if not _IS_DESCRIPTION.match(text):
        return None
    found = _DESCRIPTION.match(text)
    if found is None or (found[1] == "TYPE" and found[4] not in _TYPES):
        raise BadLineError("a TYPE line is `# TYPE name type`")
    name = found[3] if found[2] is None else _unescape(found[2])
    return found[1], name, found[4] or ""


def check_utf8(text: str) -> None:
    """Refuse bytes that are not UTF-8.

    Raises:
        BadLineError: there are some.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BadLineError("not UTF-8") from None


def series(text: str) -> tuple[int, str, Labels]:
    """Where the series ends in `text`, its name and its sorted labels.

    Raises:
        BadLineError: it is none.
    """
    found = _NAME.match(text)
    name = found[0] if found else None
    at = found.end() if found else 0
    brace = at
    while text[brace : brace + 1] in (" ", "\t"):
        brace += 1
    if text[brace : brace + 1] != "{":
        if name is None or brace == at:
            raise BadLineError("a sample begins with a metric name and a blank")
        return at, name, ()
    labels: dict[str, str] = {}
    at, name = _labels(text, brace + 1, name, labels)
    if not name:
        raise BadLineError("no metric name")
    return at, name, tuple(sorted(labels.items()))


def _labels(text: str, at: int, name: str | None, labels: dict[str, str]) -> tuple[int, str | None]:
    """Fill `labels` from behind the brace; gives the place behind the closing one, and the name."""
    while True:
        end = _LABELS_END.match(text, at)
        if end:
            return end.end(), name
        item = _LABEL.match(text, at)
        if item is None:
            raise BadLineError('labels are {name="value",...}')
        at = item.end()
        key = item[1] if item[2] is None else _unescape(item[2])
        if item[3] is not None:
            if key in labels:
                raise BadLineError("a label is told twice")
            labels[key] = _unescape(item[3])
        elif item[2] is not None and name is None and not labels:
            name = key
        else:
            raise BadLineError("a label has no value")
        if item[4] == "}":
            return at, name


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text)


def numbers(rest: str, *, open_metrics: bool) -> tuple[float, float | None]:
    """Value and timestamp (seconds since 1970) of what follows a series; an exemplar is dropped.

    Raises:
        BadLineError: they are none.
    """
    told, exemplar, behind = rest.partition("#")
    if exemplar and not told.endswith((" ", "\t")):
        raise BadLineError("the value is not a number")
    words = told.split() if told.isascii() else [told]
    if not words:
        raise BadLineError("no value")
    if len(words) > 2:
        raise BadLineError("more than a value and a time")
    if exemplar and open_metrics:
        _check_exemplar(behind)
    value = _number(words[0], "the value")
    if len(words) == 1:
        return value, None
    return value, _moment(words[1], open_metrics=open_metrics)


def _moment(word: str, *, open_metrics: bool) -> float:
    if open_metrics:
        seconds = _number(word, "the time")
        if not math.isfinite(seconds):
            raise BadLineError("the time is not a moment")
        return seconds
    if not _WHOLE.match(word):
        raise BadLineError("the time is not in whole milliseconds")
    return int(word) / 1000


def _check_exemplar(behind: str) -> None:
    """Refuse what is no exemplar; what it says belongs to traces and is not kept."""
    begin = behind.lstrip(" \t")
    if not begin.startswith("{"):
        raise BadLineError('an exemplar is `# {name="value"} number`')
    end, _ = _labels(begin, 1, None, {})
    words = begin[end:].split()
    if not 1 <= len(words) <= 2:
        raise BadLineError("an exemplar has a number, and perhaps a time")
    for word in words:
        _number(word, "the exemplar")


def _number(word: str, what: str) -> float:
    # Python's float() also takes "1_000" and digits of other scripts.
    if word.isascii() and "_" not in word:
        with contextlib.suppress(ValueError, OverflowError):
            return float.fromhex(word) if _HEX.match(word) else float(word)
    raise BadLineError(f"{what} is not a number")
