"""What a browser tells the server; without Dash, which only what draws needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Wish = Mapping[str, Any]
MOST_TEXT = 500


def typed(wish: Wish, name: str) -> str:
    """What was typed into a field of the wish's form; "" where there is none."""
    return str((wish.get("fields") or {}).get(name) or "").strip()[:MOST_TEXT]
