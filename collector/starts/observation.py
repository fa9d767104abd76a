"""One phase of one start, as one witness saw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class StartObservation:
    """One row of `instance_start`.

    Attributes:
        instance: host and port, or the pod where no target is known for it.
        phase: schedule, init, image, container, process, engine, weights, compile, kv_cache, or a
            mark: ready, first_token, failed.
        started_at: aware UTC.
        ended_at: aware UTC, not before `started_at`; equal to it for a mark.
        evidence: who says so, in words that begin with the kind of witness.
        model: what the instance serves, if the witness knows.
        node: where it runs, if the witness knows.
        cache_state: "cold" or "warm", if the witness knows.
    """

    instance: str
    phase: str
    started_at: datetime
    ended_at: datetime
    evidence: str
    model: str | None = None
    node: str | None = None
    cache_state: str | None = None


def frame(observations: Sequence[StartObservation]) -> pl.DataFrame:
    """Rows for `append("instance_start", …)`."""
    import polars as pl

    names = ("instance", "model", "node", "phase", "started_at", "ended_at", "cache_state", "evidence")  # fmt: skip  # noqa: E501
    rows = {name: [_plain(getattr(item, name)) for item in observations] for name in names}
    times = {"started_at": pl.Datetime("us"), "ended_at": pl.Datetime("us")}
    schema = {name: times.get(name, pl.String()) for name in names}
    return pl.DataFrame(rows, schema=schema)


def _plain(value: str | datetime | None) -> str | datetime | None:
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value
