"""What may be applied of a proposal in a replay: the guards of the live controller, or its budget.

The very functions of `controller.guards`; only what a controller knows besides, when it changed
what, comes from the replay. Nobody freezes a pool here, and nobody else changes one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from controller.guards import FleetRules, Passed, Standing, budget, guarded
from controller.observation import Limits, Observation


class Fence:
    """Belongs to one replay.

    Args:
        rules: what an operator allows.
        limits: of each pool.
        has_guards: all guards; else the limits, and the budget where there is one.
    """

    def __init__(
        self, rules: FleetRules, limits: Mapping[str, Limits], *, has_guards: bool
    ) -> None:
        self._rules, self._limits, self._has_guards = rules, limits, has_guards
        self._has_budget = (rules.most_gpus, rules.most_per_hour) != (None, None)
        self._changed_at: dict[str, float] = {}
        self._clips = Counter[tuple[str, str]]()

    def passed(self, observation: Observation, targets: Mapping[str, int]) -> dict[str, int]:
        """What is let through, within the limits."""
        if self._has_guards:
            passed = guarded(observation, self._rules, Standing(self._changed_at), targets)
            targets = self._counted(passed)
        elif self._has_budget:
            wanted = {pool.name: pool.target for pool in observation.pools} | self._within(targets)
            targets = self._counted(budget(observation, self._rules, Standing(), Passed(wanted)))
        for pool in observation.pools:
            if targets.get(pool.name, pool.target) != pool.target:
                self._changed_at[pool.name] = observation.at
        return self._within(targets)

    @property
    def clips(self) -> dict[str, dict[str, int]]:
        """Of each pool, by guard: decisions in which it held or clipped what was wanted."""
        found: dict[str, dict[str, int]] = {}
        for (pool, guard), count in sorted(self._clips.items()):
            found.setdefault(pool, {})[guard] = count
        return found

    def _counted(self, passed: Passed) -> Mapping[str, int]:
        self._clips.update({(clip.pool, clip.guard) for clip in passed.clips})
        return passed.targets

    def _within(self, targets: Mapping[str, int]) -> dict[str, int]:
        return {
            pool: min(max(target, self._limits[pool].least), self._limits[pool].most)
            for pool, target in targets.items()
        }
