"""The agents that have reported."""

from __future__ import annotations

import polars as pl

from store.reader import Reader


def agents(reader: Reader) -> pl.DataFrame:
    """Every column of table `agent`, by name; `details` is JSON text."""
    return reader.frame("SELECT * REPLACE (details::VARCHAR AS details) FROM agent ORDER BY name")
