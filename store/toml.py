"""TOML that somebody else wrote: every way in which it can be wrong is one error."""

from __future__ import annotations

import tomllib
from typing import Any

_MOST_BITS = 64


class TomlError(ValueError):
    """A text that is not TOML; the message says where, as far as it is known."""


def loads(text: str) -> dict[str, Any]:
    """The tables of a text.

    Raises:
        TomlError: it is not TOML, is nested too deeply, or has a whole number of more than 64 bits,
            which TOML does not have and of which `tomllib` may make one that cannot be shown.
    """
    try:
        told = tomllib.loads(text)
    except RecursionError as error:
        raise TomlError("it is nested too deeply") from error
    except ValueError as error:
        raise TomlError(str(error)) from error
    _refuse_huge(told)
    return told


def _refuse_huge(told: dict[str, Any]) -> None:
    waiting: list[Any] = [told]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict | list):
            waiting += one.values() if isinstance(one, dict) else one
        elif isinstance(one, int) and one.bit_length() > _MOST_BITS:
            raise TomlError(f"a whole number has more than {_MOST_BITS} bits")
