"""What the controller knows besides what is seen: leases, freezes, changes, what others cost."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller.book import Book
from controller.codec import Given
from controller.guards import Standing
from controller.leases import Leases
from controller.modes import ACTING, OFF
from controller.observation import PoolView
from controller.observe import Seen
from controller.pools import Fleet, Pool
from store.errors import ServescopeError

log = logging.getLogger("servescope.controller")


@dataclass(slots=True)
class Standings:
    """Belongs to one event loop.

    Attributes:
        book: states of pools.
        leases: which pools are ours.
        views: each pool as it was seen last.
        targets: replicas that were decided last.
    """

    _book: Book
    _leases: Leases
    views: dict[str, PoolView] = field(default_factory=dict)
    targets: dict[str, int] = field(default_factory=dict)

    def leased(self, fleet: Fleet) -> frozenset[str]:
        """Pools that are ours to act on, and those that nothing is done about anyway."""
        found = set()
        for pool in fleet.pools:
            state = self._book.states[pool.name]
            if state.mode not in ACTING or self._taken(pool.name):
                found.add(pool.name)
            else:
                # What its owner does meanwhile is no meddling, once the pool is ours.
                self._book.states[pool.name] = replace(state, baseline=None, baseline_at=None)
        return frozenset(found)

    def given(
        self,
        fleets: Sequence[Fleet],
        fleet: Fleet,
        seen: Seen,
        problems: Mapping[str, str],
        leased: frozenset[str],
    ) -> Given:
        """Everything that a step of a fleet depends on, besides its policy.

        Args:
            fleets: all of them, for the budget.
            fleet: which.
            seen: of it.
            problems: why platforms could not be read, by pool.
            leased: pools that are ours.
        """
        names = [pool.name for pool in fleet.pools]
        states = {name: self._book.states[name] for name in names}
        now = self._book.now()
        frozen = {
            name: None
            if state.frozen_until is None
            else (state.frozen_until - now).total_seconds() + seen.observation.at
            for name, state in states.items()
            if state.frozen(now)
        }
        foreign = {
            name: state.foreign for name, state in states.items() if state.foreign is not None
        }
        changed = self._changed(names, seen.observation.at)
        other_gpus, other_cost = self._others(fleets, names)
        standing = Standing(
            changed, frozen, foreign, leased, dict(problems), other_gpus, other_cost
        )
        return Given(seen.observation, fleet.rules, standing)

    def _changed(self, names: Sequence[str], now: float) -> dict[str, float]:
        """When pools were changed. One from the future was changed now, as the clock was set back.

        Else a cooldown would last for as long as the clock was set back by.
        """
        at = self._book.changed_at
        at.update({name: now for name in names if at.get(name, now) > now})
        return {name: at[name] for name in names if name in at}

    def _taken(self, pool: str) -> bool:
        try:
            return self._leases.take(pool)
        except ServescopeError as error:
            log.warning("lease_failed", extra={"pool": pool, "error": str(error)})
            return False

    def _others(self, fleets: Sequence[Fleet], names: Sequence[str]) -> tuple[int, float]:
        """Cards and cost of the pools that are decided elsewhere."""
        gpus, cost = 0, 0.0
        for fleet in fleets:
            for pool in fleet.pools:
                if pool.name in names or self._book.states[pool.name].mode == OFF:
                    continue
                replicas = self._reckoned(pool)
                gpus += replicas * pool.gpus
                cost += replicas * (pool.price_per_hour or 0.0)
        return gpus, cost

    def _reckoned(self, pool: Pool) -> int:
        """Replicas that a pool has or may get; all it may have, while nothing is known of it."""
        view, state = self.views.get(pool.name), self._book.states[pool.name]
        decided = self.targets.get(pool.name, 0) if state.mode in ACTING else 0
        if view is None:
            return max(state.baseline or pool.settings.most, decided)
        return max(view.target, decided)
