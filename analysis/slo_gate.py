"""Whether an objective was met, as gates in CI and reports say it: by its share of good requests.

Few requests are judged like many here; whether they are too few to act on is the status beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_met(row: Mapping[str, Any]) -> bool | None:
    """Whether a row of the frame `slos` keeps its target; None when that cannot be said.

    Where only bounds of the attainment are known, both have to lie on one side of the target.
    """
    target = row["target_ratio"]
    if row.get("attainment_ratio") is not None:
        return bool(row["attainment_ratio"] >= target)
    low, high = row.get("attainment_low"), row.get("attainment_high")
    if low is not None and low >= target:
        return True
    return False if high is not None and high < target else None
