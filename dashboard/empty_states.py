"""The four reasons why there is nothing to show, each with what to do about it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from dash import html

from analysis.measure import Empty
from dashboard.scene import Scene


def empty_state(empty: Empty, scene: Scene) -> html.Div:
    """One of the four reasons why there is nothing to show, each with what to do about it."""
    titles = {
        "nothing_connected": "No source yet.",
        "metric_absent": "This source does not say.",
        "outside_range": "Nothing in this range.",
        "no_traffic": "No requests in this range.",
    }
    parts: list[Any] = [html.H2(titles[empty.kind])]
    if empty.text != titles[empty.kind]:
        parts.append(html.P(empty.text))
    if empty.kind == "outside_range" and empty.last_record_at is not None:
        parts.append(html.P(f"Last record: {scene.when(empty.last_record_at)}."))
    action = _empty_action(empty, scene)
    if action is not None:
        parts.append(action)
    return html.Div(parts, className=f"ss-empty is-{empty.kind.replace('_', '-')}")


def jump(last_at: datetime, seconds: float, scene: Scene) -> html.A:
    """The way to the last record: the page over as long a range, ending there."""
    end = last_at + timedelta(seconds=1)
    start = end - timedelta(seconds=seconds)
    href = scene.here(from_=f"{start:%Y-%m-%dT%H:%M:%SZ}", to=f"{end:%Y-%m-%dT%H:%M:%SZ}")
    return html.A("Jump there", href=href, className="ss-button")


def _empty_action(empty: Empty, scene: Scene) -> html.A | None:
    if (
        empty.kind == "outside_range"
        and empty.last_record_at is not None
        and scene.scope is not None
    ):
        return jump(empty.last_record_at, scene.scope.seconds, scene)
    if empty.kind == "metric_absent":
        return html.A(
            "See what each source reports", href=scene.link("admin"), className="ss-button"
        )
    if empty.kind == "nothing_connected":
        return html.A("Connect or import something", href=scene.link(), className="ss-button")
    return None
