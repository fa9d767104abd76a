"""How policies are named: "risk", "kubernetes-hpa(target_ongoing=8)", "module:factory"."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from store.errors import ControllerError

CLAIRVOYANT, STATIC = "clairvoyant", "static"
OURS = "risk"
_CALL = re.compile(r"^([^()]+)\((.*)\)$")
_COMMAS = re.compile(r",(?![^()]*\))")
_NAME = re.compile(r"[A-Za-z_][\w.-]*")


def listed(text: str) -> tuple[str, ...]:
    """Read "risk,static(replicas=5),kubernetes-hpa(target_ongoing=8,down_seconds=60)"."""
    parts = (part.strip() for part in _COMMAS.split(text))
    return tuple(part for part in parts if part)


def parsed(wanted: str) -> tuple[str, dict[str, Any]]:
    """The name and the settings of "kubernetes-hpa(target_ongoing=8)".

    Raises:
        ControllerError: it cannot be read.
    """
    found = _CALL.match(wanted)
    if found is None:
        return wanted, {}
    settings = {}
    for part in filter(None, found[2].split(",")):
        name, is_given, value = part.partition("=")
        if not is_given or not _NAME.fullmatch(name.strip()):
            raise ControllerError(
                f"the settings of '{wanted}' cannot be read at '{part}'",
                hint="write name(parameter=value,parameter=value)",
            )
        try:
            settings[name.strip()] = json.loads(value)
        except ValueError:
            settings[name.strip()] = value.strip()
    return found[1].strip(), settings


def fixed_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a fixed fleet: "static(prefill=2,decode=5)" names the replicas of each pool."""
    pools = {name: value for name, value in given.items() if name != "replicas"}
    if not pools:
        return dict(given)
    told = given.get("replicas")
    return {"replicas": {**(told if isinstance(told, Mapping) else {}), **pools}}
