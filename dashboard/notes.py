"""What a view says beside its numbers: what was left out, estimated or not known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html

from dashboard.cards import part_id


def notes(sentences: Sequence[str], key: str) -> list[Any]:
    """One quiet paragraph; none without a sentence.

    Args:
        sentences: of a view.
        key: unique on the page, so that a refresh renews the paragraph.
    """
    if not sentences:
        return []
    text = " ".join(s if s.endswith((".", "!", "?")) else f"{s}." for s in sentences)
    return [html.P(text, className="ss-dim", id=part_id(f"notes-{key}"))]
