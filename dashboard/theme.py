"""Names and colours that every page shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Okabe-Ito hues, darkened where the original falls below 3:1 on white. Each holds 3:1 on both the
# light and the dark card, so a figure needs no second set.
BLUE = "#0072B2"
VERMILION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#BC5F93"
GREY = "#7A828C"
# Thin lines of sparklines, which cannot follow the theme: between the two blues.
SPARK = "#2F86C8"

SERIES_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, GREY)
SERIES_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")

# Cards behind the figures, kept equal to assets/servescope.css by a test.
LIGHT_CARD = "#ffffff"
DARK_CARD = "#16191f"

# From the card itself to the full hue, so that low counts fade into either theme.
COUNT_SCALE = (
    (0.0, "rgba(0,114,178,0.06)"),
    (0.5, "rgba(0,114,178,0.55)"),
    (1.0, "rgba(0,114,178,1)"),
)


def element_id(page: str, thing: str) -> str:
    """The id of an element: `page-thing`, lower case with dashes."""
    return f"{page}-{thing}"


def attrs(named: Mapping[str, str]) -> dict[str, Any]:
    """`data-` and `aria-` attributes, which Dash takes as keywords no type knows."""
    return dict(named)
