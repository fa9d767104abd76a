"""How each pool is to be treated, folded from the rows of `control_change`: pure functions.

off ---> dry-run ---> approve ---> active        any of them frozen, until a time or until resumed
 recorded: no   yes, nothing done   a person says yes   done at once
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from store.errors import ControllerError

OFF, DRY_RUN, APPROVE, ACTIVE = "off", "dry-run", "approve", "active"
MODES = (OFF, DRY_RUN, APPROVE, ACTIVE)
ACTING = (APPROVE, ACTIVE)


@dataclass(frozen=True, slots=True)
class PoolState:
    """One pool's treatment; times are naive UTC.

    Attributes:
        pool: its name.
        mode: one of `MODES`.
        mode_by: who set it; "default" when nobody did.
        mode_at: since when.
        mode_comment: why.
        is_frozen: whether it was frozen and not resumed; `until` may have passed.
        frozen_until: None until resumed.
        frozen_by: who froze it.
        frozen_at: since when.
        frozen_comment: why.
        foreign: what somebody else set, until resumed.
        baseline: replicas that this controller takes to be wanted; None before it may act.
        baseline_at: since when.
        version: of the newest change.
    """

    pool: str
    mode: str = DRY_RUN
    mode_by: str = "default"
    mode_at: datetime | None = None
    mode_comment: str = ""
    is_frozen: bool = False
    frozen_until: datetime | None = None
    frozen_by: str = ""
    frozen_at: datetime | None = None
    frozen_comment: str = ""
    foreign: int | None = None
    baseline: int | None = None
    baseline_at: datetime | None = None
    version: int = 0

    def frozen(self, at: datetime) -> bool:
        """Whether it is frozen at a time (naive UTC)."""
        return self.is_frozen and (self.frozen_until is None or at < self.frozen_until)


def folded(
    pools: Iterable[str], rows: Iterable[Mapping[str, Any]], default: str
) -> dict[str, PoolState]:
    """The states that the rows lead to.

    Args:
        pools: names.
        rows: of `control_change`, oldest first; those of other pools are left out.
        default: mode of pools that nobody set.
    """
    states = {pool: PoolState(pool, default) for pool in pools}
    for row in rows:
        if row["pool"] in states:
            states[row["pool"]] = changed(states[row["pool"]], row)
    return states


def changed(state: PoolState, row: Mapping[str, Any]) -> PoolState:
    """The state after one row."""
    made = replace(state, version=row["version"])
    by, at, why = row["changed_by"], row["changed_at"], row["comment"] or ""
    if row["kind"] == "mode":
        made = replace(made, mode=row["value"], mode_by=by, mode_at=at, mode_comment=why)
        return replace(made, baseline=row["replicas"], baseline_at=at, foreign=None)
    if row["kind"] == "freeze":
        return replace(
            made, is_frozen=True, frozen_until=row["until_at"], frozen_by=by, frozen_at=at,
            frozen_comment=why,
        )  # fmt: skip
    if row["kind"] == "resume":
        made = replace(made, is_frozen=False, frozen_until=None, foreign=None)
        if row["replicas"] is not None:
            made = replace(made, baseline=row["replicas"], baseline_at=at)
        return made
    return replace(made, foreign=row["replicas"])


def known_mode(mode: str) -> str:
    """A mode that somebody typed.

    Raises:
        ControllerError: there is no such mode.
    """
    if mode not in MODES:
        raise ControllerError(f"there is no mode '{mode}'", hint=f"there are: {', '.join(MODES)}")
    return mode
