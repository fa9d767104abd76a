"""JSON as this product writes it. Without frames, so that a gateway can log and carry no Polars."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson

EXACT_WHOLE = 2**53
JSON_OPTIONS = (
    orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
)


def to_json(value: Any) -> bytes:
    """JSON text: naive times are UTC, NaN and infinity are null, unknown types become text."""
    return orjson.dumps(value, default=_other, option=JSON_OPTIONS)


def _other(value: Any) -> Any:
    """Sums in SQL are wider than 64 bits: a number as long as JSON readers keep its digits."""
    if isinstance(value, Decimal):
        if not value.is_finite():
            return None
        whole = value == value.to_integral_value()
        if whole and abs(value) > EXACT_WHOLE:
            return str(value)
        return int(value) if whole else float(value)
    return str(value)
