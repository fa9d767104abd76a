"""The time range of a page in words."""

from __future__ import annotations

from dashboard.scene import Scene
from store.queries.scope import DEFAULT_LIVE_SECONDS
from store.units import seconds_text

RANGES = (
    ("now-15m", "Last 15 minutes"),
    ("now-1h", "Last hour"),
    ("now-6h", "Last 6 hours"),
    ("now-24h", "Last 24 hours"),
    ("now-7d", "Last 7 days"),
    ("now-30d", "Last 30 days"),
)


def range_words(scene: Scene) -> str:
    """The range in words: a preset's name, a day of the trace, or both ends."""
    if scene.scope is None:
        return "range not understood"
    name = dict(RANGES).get(preset(scene), "")
    if scene.is_live:
        if name:
            return f"{name} · {scene.zone.key}"
        return _both_ends(scene) if "from" in scene.address.params else _since(scene)
    return ", ".join(filter(None, ("trace time", name.lower(), _trace_days(scene))))


def preset(scene: Scene) -> str:
    """The preset in force; "" when both ends were typed, or young live data set the start."""
    if scene.address.params.get("to", "now") != "now" or scene.scope is None:
        return ""
    whole = scene.is_live and scene.scope.seconds == DEFAULT_LIVE_SECONDS
    return scene.address.params.get("from", "now-6h" if whole else "")


def _since(scene: Scene) -> str:
    """The range that live data without a typed start gets: "since 11:31, 15 min"."""
    if scene.scope is None:
        return ""
    start = scene.scope.start.astimezone(scene.zone)
    same = start.date() == scene.scope.end.astimezone(scene.zone).date()
    length = seconds_text(round(scene.scope.seconds / 60) * 60)
    return f"since {start:{'%H:%M' if same else '%-d %b %H:%M'}}, {length} · {scene.zone.key}"


def _both_ends(scene: Scene, year: str = "") -> str:
    """Both ends to the minute; `year` is a format for it, where it is not the running one."""
    if scene.scope is None:
        return ""
    start, end = scene.scope.start.astimezone(scene.zone), scene.scope.end.astimezone(scene.zone)
    day = f"%-d %b{year}"
    last = "%H:%M" if start.date() == end.date() else f"{day} %H:%M"
    return f"{start:{day} %H:%M} to {end:{last}} · {scene.zone.key}"


def _trace_days(scene: Scene) -> str:
    """Where in its trace a range lies: "day 3 of 121"; a trace of one day has its hours."""
    firsts = [s.first_at for s in scene.sources if s.first_at]
    lasts = [s.last_at for s in scene.sources if s.last_at]
    if not firsts or not lasts or scene.scope is None:
        return "no records"
    total = (max(lasts) - min(firsts)).days + 1
    first = (scene.scope.start - min(firsts)).days + 1
    last = min(total, (scene.scope.end - min(firsts)).days + 1)
    if total == 1 and scene.clock != "relative":
        return _both_ends(scene, " %Y")
    if first == last:
        return f"day {first} of {total}"
    return (
        f"all {total} days" if (first, last) == (1, total) else f"days {first} to {last} of {total}"
    )
