"""The replica that is expected to finish the request first."""

from __future__ import annotations

from controller.gateway.ask import Ask
from controller.gateway.estimates import finish_seconds, pace_among, rough_finish_seconds
from controller.gateway.fleet import Instance
from controller.gateway.routing.base import Choice, WaySpec
from controller.gateway.routing.turns import least, shortlist

SPEC = WaySpec(
    "predicted-finish",
    "Earliest predicted finish",
    "Block (arXiv 2508.03611): prediction per instance; here in closed form, see estimates.py",
)


class PredictedFinish:
    """Weighs all that is known: pace, prompts ahead, lengths of those that decode, the cache."""

    spec = SPEC

    def choose(self, ask: Ask, choice: Choice) -> Instance | None:
        """The one with the earliest finish."""
        usual = pace_among(choice.fleet)
        kept = {one.name: choice.kept(ask, one.name) for one in choice.free}

        def roughly(one: Instance) -> float:
            return rough_finish_seconds(ask, one, kept[one.name], usual)

        def seconds(one: Instance) -> float:
            return finish_seconds(ask, one, kept[one.name], usual)

        return least(shortlist(choice.free, ask, roughly), ask, seconds)

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """Nothing to remember: the gate counts."""

    def ended(self, ask: Ask, instance: Instance, now: float, *, is_failed: bool) -> None:
        """Nothing to learn: what it was like is in the replica's pace."""

    def gone(self, name: str) -> None:
        """Nothing to forget."""
