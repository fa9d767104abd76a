"""The targets in use with what discovery knows about them."""

from __future__ import annotations

import polars as pl

from store.reader import Reader


def inventory(reader: Reader) -> pl.DataFrame:
    """target_id, url, engine, engine_version, model, labels (JSON text or null), by URL."""
    return reader.frame(
        """SELECT target_id, url, engine, engine_version, model, labels::VARCHAR AS labels
        FROM target WHERE removed_at IS NULL ORDER BY url"""
    )
