"""Values of a replay's parameters, as JSON or the command line give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from controller.comparison.naming import listed
from servescope.replaying.fleet import checked

# What may be left open, by null.
_OPEN = ("most", "initial", "gpus", "patience", "most_per_hour", "guards")


def value_of(name: str, value: Any) -> Any:
    """A value as the field of that name wants it.

    Raises:
        ValueError: it is none, and of which kind it should be.
        InputError: a fleet that is none.
    """
    if value is None and name in _OPEN:
        return None
    read = _KINDS.get(name)
    return str(value) if read is None else read(name, value)


def _fleet(name: str, value: Any) -> tuple[dict[str, Any], ...]:
    return checked(value)


def _policies(name: str, value: Any) -> tuple[str, ...]:
    return _texts(name, listed(value) if isinstance(value, str) else value)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(str(part).strip() for part in parts if str(part).strip())


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    if isinstance(value, int | float):
        value = [value]
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(float(part) for part in parts)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or value != int(value):
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    return int(value)


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {value!r}")  # noqa: TRY004
    return value


def _number(name: str, value: Any) -> float:
    return float(value)


_KINDS: Mapping[str, Callable[[str, Any], Any]] = {
    "policies": _policies,
    "startups": _numbers,
    "pools": _texts,
    "fleet": _fleet,
    **dict.fromkeys(("guards", "forecasts"), _switch),
    **dict.fromkeys(("seeds", "tune", "least", "most", "initial", "gpus", "curve"), _count),
    **dict.fromkeys(("scale", "history", "run_limit", "patience", "most_per_hour"), _number),
}
