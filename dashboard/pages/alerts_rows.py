"""Alerts: parts of tables that several of its cards use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from dash import html

from dashboard.scene import Scene
from dashboard.theme import attrs

STATES = {
    "firing": ("bad", "▲"),
    "pending": ("watch", "◔"),
    "resolved": ("good", "●"),
    "inactive": ("none", "○"),
    "active": ("watch", "◔"),
    "expired": ("none", "○"),
}


def state(row: Mapping[str, Any]) -> html.Span:
    """How it stands: a sign and a word."""
    look, glyph = STATES.get(row["state"], ("none", "○"))
    if row.get("why_quiet"):
        look = "none"
    return html.Span(
        [html.Span(glyph, **attrs({"aria-hidden": "true"})), f" {row['state']}"],
        className=f"ss-status is-{look}",
    )


def severity(row: Mapping[str, Any]) -> html.Div:
    """Whom it calls."""
    return html.Div(row["severity"], className="ss-dim")


def look_link(row: Mapping[str, Any], scene: Scene) -> Any:
    """The page that shows what an alert means: absolute times, its own filters."""
    since: datetime = row["active_at"].replace(tzinfo=UTC)
    began = since - timedelta(seconds=row["back_seconds"])
    params = {
        **json.loads(row["params"]), "from": _stamp(began), "to": _stamp(scene.now),
    }  # fmt: skip
    query = urlencode(params, quote_via=quote, safe=",:")
    words = f"What {row['rule']} of {row['subject']} is about"
    return html.A(
        "Look", href=f"{scene.prefix}{quote(row['page'])}?{query}", className="ss-tool",
        **attrs({"aria-label": words}),
    )  # fmt: skip


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
