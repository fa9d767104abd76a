"""docs/actuator-settings.md: every kind of actuator with what can be set, from the code."""

from __future__ import annotations

from collections.abc import Sequence

from controller.actuators.registry import describe
from controller.actuators.settings import SettingText

_HEAD = (
    "# Settings of actuators",
    "",
    "One section each kind. What a pool sets stands in its `actuator` table; pools whose other",
    "settings are the same share one actuator. What to mind of each: [actuators](actuators.md).",
)


def lines() -> list[str]:
    """The page, line by line."""
    told = list(_HEAD)
    for kind in describe():
        told += ["", f"## {kind.kind}", "", f"{_capital(kind.about)}.", ""]
        told += _table("For each pool", kind.pool)
        told += ["", *_table("For all of them", kind.settings)]
    return told


def _table(title: str, settings: Sequence[SettingText]) -> list[str]:
    if not settings:
        return [f"{title}: nothing."]
    rows = [f"| {title} | Default | Meaning |", "| --- | --- | --- |"]
    for one in settings:
        default = "must be given" if one.default is None else f"`{_toml(one.default)}`"
        about = one.about.rstrip(".").replace("|", "\\|")
        rows.append(f"| `{one.name}` | {default} | {_capital(about)}. |")
    return rows


def _capital(text: str) -> str:
    """With a capital letter in front; vLLM stays vLLM."""
    return text if text[1:2].isupper() else text[:1].upper() + text[1:]


def _toml(default: str) -> str:
    """A default as it is written in a configuration."""
    if default.startswith("(") and default.endswith(")"):
        return f"[{default[1:-1].rstrip(',')}]".replace("'", '"')
    named = {"True": "true", "False": "false"}
    return named.get(default, default.replace("'", '"'))
