"""Names that were escaped on their way: `escaping=` in the type of a page of text 1.0.0.

Source: https://prometheus.io/docs/instrumenting/escaping_schemes/
"""

from __future__ import annotations

import re
from typing import Literal

Escaping = Literal["allow-utf-8", "underscores", "dots", "values"]

_PARAMETER = re.compile(r";\s*escaping\s*=\s*\"?([a-z0-9-]+)", re.IGNORECASE)
_DOTS = re.compile(r"_dot_|__")
_VALUES = re.compile(r"__|_([0-9A-Fa-f]{1,6})_")
_MARK = "U__"
_LAST_SIGN = 0x10FFFF


def escaping_of(content_type: str) -> Escaping:
    """The scheme that a Content-Type tells; without one names stand as they are.

    >>> escaping_of("text/plain; version=1.0.0; escaping=dots")
    'dots'
    """
    found = _PARAMETER.search(content_type)
    told = found[1].lower() if found else ""
    if told == "dots":
        return "dots"
    if told == "values":
        return "values"
    return "underscores" if told == "underscores" else "allow-utf-8"


def unescaped(name: str, scheme: Escaping) -> str:
    """The name behind an escaped one. What `underscores` has taken cannot be had back.

    >>> unescaped("http_dot_server__time", "dots")
    'http.server_time'
    >>> unescaped("U__http_2e_server__time", "values")
    'http.server_time'
    """
    if scheme == "dots":
        return _DOTS.sub(lambda found: "." if found[0] == "_dot_" else "_", name)
    if scheme == "values" and name.startswith(_MARK):
        return _VALUES.sub(_sign, name[len(_MARK) :])
    return name


def _sign(found: re.Match[str]) -> str:
    if found[1] is None:
        return "_"
    number = int(found[1], 16)
    return chr(number) if number <= _LAST_SIGN and not 0xD800 <= number <= 0xDFFF else "\ufffd"
