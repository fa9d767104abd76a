"""Rows of a comparison as plain values."""

from __future__ import annotations

from typing import Any

import polars as pl


def plain_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows without what is not known, but for `is_met`, where not knowing is the answer."""
    return [
        {name: value for name, value in row.items() if value is not None or name == "is_met"}
        for row in frame.to_dicts()
    ]
