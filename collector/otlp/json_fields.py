"""Reading single fields of OTLP/JSON by the rules of its specification.

Keys are lowerCamelCase, unknown ones are ignored, null is unset; int64 is a number or a string;
enums are integers only; ids are hexadecimal. Source: OTLP specification, "JSON Protobuf Encoding".
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from collector.otlp.model import OtlpDamaged, Value

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_HEX = re.compile(r"[0-9a-fA-F]+")
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_UINT64 = (0, 2**64 - 1)
_INT64 = (-(2**63), 2**63 - 1)
_INT32 = (-(2**31), 2**31 - 1)

Json = Mapping[str, Any]


def damaged(name: str, told: Any, must: str) -> OtlpDamaged:
    """The error for one field."""
    shown = repr(told)
    shown = shown if len(shown) <= 40 else f"{shown[:40]}…"
    return OtlpDamaged(
        f"'{name}' is {shown}, it must be {must}", hint="see the OTLP specification, JSON encoding"
    )


def items(node: Json, name: str) -> list[Json]:
    """A list of objects; empty when unset."""
    told = node.get(name)
    if told is None:
        return []
    if type(told) is not list or any(type(item) is not dict for item in told):
        raise damaged(name, told, "a list of objects")
    return told


def entries(node: Json, name: str) -> Iterator[Json]:
    """The same one by one, for short lists that are many."""
    told = node.get(name)
    if told is None:
        return
    if told.__class__ is not list:
        raise damaged(name, told, "a list of objects")
    for item in told:
        if item.__class__ is not dict:
            raise damaged(name, told, "a list of objects")
        yield item


def child(node: Json, name: str) -> Json:
    """An object; empty when unset."""
    told = node.get(name)
    if told is None:
        return {}
    if type(told) is not dict:
        raise damaged(name, told, "an object")
    return told


def text(node: Json, name: str) -> str:
    """A text; empty when unset."""
    told = node.get(name)
    if told is None:
        return ""
    if type(told) is not str:
        raise damaged(name, told, "a text")
    return told


def flag(node: Json, name: str) -> bool:
    """A truth value; False when unset."""
    told = node.get(name)
    if told is None:
        return False
    if type(told) is not bool:
        raise damaged(name, told, "true or false")
    return told


def hex_id(node: Json, name: str, digits: int) -> str:
    """An id in lower case; empty when it is unset, zero or of another form."""
    told = node.get(name)
    if type(told) is not str or len(told) != digits or not _HEX.fullmatch(told):
        return ""
    return told.lower() if told.strip("0") else ""


def unsigned(node: Json, name: str) -> int:
    """A uint64 or fixed64; 0 when unset."""
    told = node.get(name)
    if _is_short_number(told, 19):
        return int(told)  # type: ignore[arg-type]
    return _integer(name, node.get(name), _UINT64)


def signed(node: Json, name: str) -> int:
    """A sint32; 0 when unset."""
    return _integer(name, node.get(name), _INT32)


def enum(node: Json, name: str) -> int:
    """The number of an enum value; 0 when unset. Names are not allowed."""
    told = node.get(name)
    if told is None:
        return 0
    if type(told) is not int or not _INT32[0] <= told <= _INT32[1]:
        raise damaged(name, told, "an integer (names of enum values are not allowed)")
    return told


def number(node: Json, name: str) -> float | None:
    """A double; None when unset."""
    told = node.get(name)
    return None if told is None else _double(name, told)


def unsigned_list(node: Json, name: str) -> tuple[int, ...]:
    """A list of uint64 or fixed64."""
    return tuple(_integer(name, item, _UINT64) for item in _plain_list(node, name))


def number_list(node: Json, name: str) -> tuple[float, ...]:
    """A list of doubles."""
    return tuple(_double(name, item) for item in _plain_list(node, name))


def value(told: Any) -> Value | None:
    """An AnyValue: a scalar or a tuple of scalars; None when it is unset or nested deeper."""
    # The plain forms first, spelled out: this is where the time goes.
    if told.__class__ is dict and len(told) == 1:
        [(kind, plain)] = told.items()
        if (kind == "stringValue" and plain.__class__ is str) or (
            kind == "doubleValue" and plain.__class__ is float
        ):
            return plain
        if kind == "intValue" and _is_short_number(plain, 18):
            return int(plain)
    if type(told) is not dict:
        if told is None:
            return None
        raise damaged("value", told, "an object")
    listed = told.get("arrayValue")
    if listed is not None:
        if type(listed) is not dict:
            raise damaged("arrayValue", listed, "an object")
        scalars = (scalar(item) for item in items(listed, "values"))
        return tuple(item for item in scalars if item is not None)
    return scalar(told)


def scalar(told: Json) -> str | bool | int | float | bytes | None:
    """The scalar of an AnyValue; None when it holds none."""
    for name, read in _SCALARS:
        found = told.get(name)
        if found is not None:
            return read(found)
    return None


def integer_value(told: Any) -> int:
    """An int64."""
    return _integer("intValue", told, _INT64)


def _is_short_number(told: Any, most_digits: int) -> bool:
    """Whether it is the text of a number of so few digits that it certainly fits."""
    return told.__class__ is str and len(told) <= most_digits and told.isascii() and told.isdigit()


def _text_value(told: Any) -> str:
    if type(told) is not str:
        raise damaged("stringValue", told, "a text")
    return told


def _flag_value(told: Any) -> bool:
    if type(told) is not bool:
        raise damaged("boolValue", told, "true or false")
    return told


def _bytes_value(told: Any) -> bytes:
    try:
        return binascii.a2b_base64(told.replace("-", "+").replace("_", "/"))
    except (ValueError, AttributeError) as error:
        raise damaged("bytesValue", told, "base64") from error


def _double(name: str, told: Any) -> float:
    kind = type(told)
    if kind is float or kind is int:
        return float(told)
    if kind is str:
        try:
            return _NOT_FINITE.get(told) or float(told)
        except ValueError as error:
            raise damaged(name, told, "a number") from error
    raise damaged(name, told, "a number")


def _integer(name: str, told: Any, limits: tuple[int, int]) -> int:
    kind = type(told)
    if kind is int:
        found: int = told
    elif told is None:
        return 0
    elif (kind is str and _INTEGER.fullmatch(told)) or (kind is float and told.is_integer()):
        found = int(told)
    else:
        raise damaged(name, told, "an integer, as a number or a text")
    if not limits[0] <= found <= limits[1]:
        raise damaged(name, told, f"between {limits[0]} and {limits[1]}")
    return found


def _plain_list(node: Json, name: str) -> list[Any]:
    told = node.get(name)
    if told is None:
        return []
    if type(told) is not list:
        raise damaged(name, told, "a list")
    return told


_SCALARS = (
    ("stringValue", _text_value),
    ("intValue", integer_value),
    ("doubleValue", lambda told: _double("doubleValue", told)),
    ("boolValue", _flag_value),
    ("bytesValue", _bytes_value),
)
