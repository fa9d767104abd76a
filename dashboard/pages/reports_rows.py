"""Reports: how an outcome looks."""

from __future__ import annotations

from typing import Any

from dash import html

LOOKS = {
    "sent": ("good", "●"),
    "made": ("good", "●"),
    "skipped": ("none", "○"),
    "failed": ("bad", "✕"),
    "making": ("watch", "◔"),
    "sending": ("watch", "◔"),
    "waiting": ("none", "○"),
}


def result(state: str | None, text: str | None) -> Any:
    """An outcome with its reason: a glyph, a word and a colour say the same."""
    if state is None:
        return html.Span("never made", className="ss-dim")
    look, glyph = LOOKS.get(state, ("none", "○"))
    rest = (text or "").removeprefix(state).lstrip(",: ")
    shown = html.Span(f"{glyph} {state}", className=f"ss-status is-{look}")
    return html.Span([shown, f" {rest}" if rest else ""])
