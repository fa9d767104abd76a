"""Target groups: the list that Prometheus' file_sd and http_sd share, in both directions.

Source: https://prometheus.io/docs/prometheus/latest/http_sd/
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from collector.discovery.model import DiscoveredTarget

MOST_BYTES = 10_000_000
MOST_TARGETS = 100_000
_MOST_DEPTH = 64
_BRACKET = re.compile(rb"[\[\]{}]")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class GroupsError(Exception):
    """The list is malformed; one line says where and how."""


def read_json(text: bytes) -> Any:
    """Decode JSON.

    Raises:
        GroupsError: it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GroupsError(f"not valid JSON: {' '.join(str(error).split())[:150]}") from None


def read_yaml(text: bytes) -> Any:
    """Decode YAML of plain values; references within the file are refused (they can explode).

    Raises:
        GroupsError: it is none.
    """
    import yaml

    _check_depth(text)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        depth = 0
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.AliasEvent):
                raise GroupsError("references (*name) are not taken")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _MOST_DEPTH:  # libyaml builds values by recursion, until the stack ends
                raise GroupsError(f"not valid YAML: lists {_MOST_DEPTH} deep")
        return yaml.load(text, Loader=loader)  # noqa: S506 - it is a safe one
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise GroupsError(f"not valid YAML: {' '.join(str(error).split())[:150]}") from None


def _check_depth(text: bytes) -> None:
    # libyaml takes a time that grows with the square of the depth.
    depth = 0
    for sign in _BRACKET.findall(text):
        depth += 1 if sign in b"[{" else -1
        if depth > _MOST_DEPTH:
            raise GroupsError(f"not valid YAML: brackets {_MOST_DEPTH} deep")


def targets_of(groups: Any, more: Mapping[str, str]) -> tuple[DiscoveredTarget, ...]:
    """The targets of decoded groups.

    Args:
        groups: a list of `{"targets": ["host:port", …], "labels": {"name": "value", …}}`.
        more: labels that all of them get besides.

    Raises:
        GroupsError: they are none.
    """
    if groups is None:
        return ()  # an empty YAML file
    if not isinstance(groups, list):
        raise GroupsError("must be a list of groups with `targets`")
    found: list[DiscoveredTarget] = []
    for number, group in enumerate(groups, 1):
        addresses, labels = _group(group, f"group {number}")
        found += [DiscoveredTarget(address, {**labels, **more}) for address in addresses]
        if len(found) > MOST_TARGETS:
            raise GroupsError(f"more than {MOST_TARGETS} targets")
    return tuple(found)


def _group(group: Any, where: str) -> tuple[list[str], dict[str, str]]:
    if not isinstance(group, dict) or not isinstance(group.get("targets"), list):
        raise GroupsError(f"{where} has no list `targets`")
    unknown = sorted(str(name) for name in set(group) - {"targets", "labels", "source"})
    if unknown:
        raise GroupsError(f"{where} has an unknown entry `{unknown[0][:40]}`")
    addresses, labels = group["targets"], group.get("labels") or {}
    if not all(isinstance(address, str) and address.strip() for address in addresses):
        raise GroupsError(f"{where}: every target is a text such as 10.0.0.7:8000")
    if not isinstance(labels, dict):
        raise GroupsError(f"{where}: `labels` must be names with values")
    for name, value in labels.items():
        if not isinstance(name, str) or not _LABEL.fullmatch(name):
            raise GroupsError(f"{where}: `{str(name)[:40]}` is no label name")
        if not isinstance(value, str | int | float | bool):
            raise GroupsError(f"{where}: label `{name}` has no value that is a text")
    return addresses, {name: _text(value) for name, value in labels.items()}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
