"""How each pool is to be treated, folded from the rows of `control_change`: pure functions.

off ---> dry-run ---> approve ---> active        any of them frozen, until a time or until resumed
 recorded: no   yes, nothing done   a person says yes   done at once
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from store.errors import ControllerError

OFF, DRY_RUN, APPROVE, ACTIVE = "off", "dry-run", "approve", "active"
MODES = (OFF, DRY_RUN, APPROVE, ACTIVE)
ACTING = (APPROVE, ACTIVE)


@dataclass(frozen=True, slots=True)
class Adopted:
    """A candidate that decides in place of what the configuration names; JSON is canonical.

    Attributes:
        candidate_id: of it.
        policy: name.
        parameters: JSON of what it is made with.
        replay_id: that spoke for it; None without one.
        fleet: pools that it decides together.
        configured_policy: name in the configuration when it was adopted.
        configured_parameters: JSON, likewise.
        by: who adopted it.
        at: when, naive UTC.
        comment: why.
    """

    candidate_id: int
    policy: str
    parameters: str
    replay_id: str | None
    fleet: str
    configured_policy: str
    configured_parameters: str
    by: str = ""
    at: datetime | None = None
    comment: str = ""

    def text(self) -> str:
        """For people: where it comes from, and what it stands in for."""
        replay = f" (replay {self.replay_id})" if self.replay_id else ""
        over = said(self.configured_policy, self.configured_parameters)
        return f"adopted from candidate {self.candidate_id}{replay} over the configured {over}"


def said(policy: str, parameters: str) -> str:
    """A policy with its parameters, for people."""
    own = json.loads(parameters)
    inside = ", ".join(f"{name}={value}" for name, value in own.items())
    return f"{policy}({inside})" if inside else policy


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
        adopted: the candidate that decides; None: what the configuration names decides.
        adoption_note: why the last adoption ended; "" where it did not, or none was.
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
    adopted: Adopted | None = None
    adoption_note: str = ""

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
    if row["kind"] == "adopt":
        told = Adopted(**json.loads(row["value"]))
        told = replace(told, by=by, at=at, comment=why)
        return replace(made, adopted=told, adoption_note="")
    if row["kind"] == "restore":
        ended = "" if made.adopted is None else f"candidate {made.adopted.candidate_id}: "
        return replace(made, adopted=None, adoption_note=f"{ended}ended by {by}: {why}")
    return replace(made, foreign=row["replicas"])


def known_mode(mode: str) -> str:
    """A mode that somebody typed.

    Raises:
        ControllerError: there is no such mode.
    """
    if mode not in MODES:
        raise ControllerError(f"there is no mode '{mode}'", hint=f"there are: {', '.join(MODES)}")
    return mode
