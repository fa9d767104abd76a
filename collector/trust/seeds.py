"""Grades that an earlier process left in the store, as a grader wants them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from collector.trust.grader import Seeds
from collector.trust.grades import Verdict


def seeds_of(rows: Iterable[Mapping[str, Any]]) -> dict[int, Seeds]:
    """Grades in force, by target.

    Args:
        rows: target_id, signal, grade, since (naive UTC or aware), evidence, advice.
    """
    found: dict[int, dict[str, tuple[Verdict, datetime]]] = {}
    for row in rows:
        since: datetime = row["since"]
        at = since if since.tzinfo is not None else since.replace(tzinfo=UTC)
        verdict = Verdict(row["grade"], row["evidence"], row["advice"] or "")
        found.setdefault(row["target_id"], {})[row["signal"]] = (verdict, at)
    return dict(found)
