"""Small line pictures for tiles: an SVG in a data address, so that a tile needs no Plotly."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from dashboard.theme import SPARK

_WIDTH, _HEIGHT = 120, 28


def sparkline(values: Sequence[float | None], colour: str = SPARK) -> str | None:
    """A `data:` address of a line from zero; gaps stay gaps; None with fewer than two values.

    Args:
        values: evenly spaced, None where unknown; thinned to 120 points.
        colour: of the line.
    """
    step = max(1, len(values) // _WIDTH)
    thin = list(values)[::step]
    known = [v for v in thin if v is not None]
    if len(known) < 2:
        return None
    top = max(known) or 1.0
    bottom = min(0.0, min(known))
    span = (top - bottom) or 1.0
    points = [
        None
        if v is None
        else (i * _WIDTH / (len(thin) - 1), _HEIGHT - 2 - (v - bottom) / span * (_HEIGHT - 4))
        for i, v in enumerate(thin)
    ]
    path = _path(points)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'preserveAspectRatio="none">'
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6" '
        'vector-effect="non-scaling-stroke"/></svg>'
    )
    return "data:image/svg+xml," + quote(svg, safe="")


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    parts: list[str] = []
    pen_down = False
    for point in points:
        if point is not None:
            parts.append(f"{'L' if pen_down else 'M'}{point[0]:.1f} {point[1]:.1f}")
        pen_down = point is not None
    return "".join(parts)
