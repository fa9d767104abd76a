"""How far somebody who has just begun has come."""

from __future__ import annotations

from typing import NamedTuple

from store.queries.scope import LIVE_SOURCE_ID
from store.reader import Reader

_BEGUN = f"""
SELECT
  (SELECT count(*) FROM target WHERE removed_at IS NULL) AS targets,
  (SELECT count(*) FROM source WHERE source_id <> {LIVE_SOURCE_ID}) AS traces,
  EXISTS (SELECT 1 FROM request) OR EXISTS (SELECT 1 FROM client_rate) AS has_requests,
  EXISTS (SELECT 1 FROM scrape WHERE outcome = 'ok') AS has_answers
"""


class Begun(NamedTuple):
    """What there is.

    Attributes:
        targets: that are watched.
        traces: that were imported.
        has_requests: whether any request is recorded.
        has_answers: whether any target ever answered.
    """

    targets: int
    traces: int
    has_requests: bool
    has_answers: bool


def begun(reader: Reader) -> Begun:
    """What there is of sources and records; reads no range."""
    return Begun(*reader.frame(_BEGUN).row(0))
