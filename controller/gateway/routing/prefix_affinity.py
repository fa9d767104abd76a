"""Two homes for every beginning of a prompt, by two hash rings; the SLO decides between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from controller.gateway.ask import Ask
from controller.gateway.estimates import first_token_seconds, pace_among
from controller.gateway.fleet import Instance
from controller.gateway.routing.base import Choice, WaySpec
from controller.gateway.routing.ring import Ring
from controller.gateway.routing.turns import least
from store.errors import ControllerError

SPEC = WaySpec(
    "prefix-affinity",
    "Two hash rings over prefixes, SLO-aware",
    "DualMap (arXiv 2602.06502); the deepening of popular prefixes is ours",
    {"key_blocks": 4, "ttft_seconds": 1.0, "slo_share": 0.5, "seed": 0},
)
REMEMBERED = 2048
"""Requests after which what was popular counts half."""
CHANCE = 8
"""Requests by which a beginning may seem popular by chance."""
FINE = 16
"""Times `key_blocks` up to which beginnings are told apart in steps of it; then they double."""


class PrefixAffinity:
    """Requests that begin alike meet at two replicas, others spread by the power of two choices.

    Of the two homes the one with more of the prompt in its cache, while its first token is expected
    within the SLO; else the one with the earlier first token; and if neither is in time, the
    earliest of all. A beginning that more requests share than two replicas' part of the traffic
    (a system prompt) is told apart further on.

    Args:
        key_blocks: blocks of the beginning that make the key.
        ttft_seconds: bound for those whose class has none.
        slo_share: part of the bound that may be used up before affinity gives way, 0 to 1.
        seed: of the rings.

    Raises:
        ControllerError: a value is out of range.
    """

    def __init__(
        self,
        key_blocks: int = 4,
        ttft_seconds: float = 1.0,
        slo_share: float = 0.5,
        seed: int = 0,
    ) -> None:
        if not (key_blocks >= 1 and ttft_seconds > 0 and 0 <= slo_share <= 1):
            raise ControllerError(
                "prefix-affinity: a parameter is out of range",
                hint="key_blocks >= 1, ttft_seconds > 0, slo_share 0 to 1",
            )
        told = {
            "key_blocks": key_blocks,
            "ttft_seconds": ttft_seconds,
            "slo_share": slo_share,
            "seed": seed,
        }
        self.spec = WaySpec(SPEC.name, SPEC.title, SPEC.source, told)
        self._blocks, self._usual, self._share = key_blocks, ttft_seconds, slo_share
        self._rings = (Ring(2 * seed + 1), Ring(2 * seed + 2))
        self._seen: Counter[int] = Counter()
        self._total = 0

    def choose(self, ask: Ask, choice: Choice) -> Instance | None:
        """One of its two homes, or the one with the earliest first token."""
        usual = pace_among(choice.fleet)
        kept = {one.name: choice.kept(ask, one.name) for one in choice.free}

        def first(one: Instance) -> float:
            return first_token_seconds(ask, one, kept[one.name], usual)

        most = (ask.slo.ttft_seconds or self._usual) * self._share - (choice.now - ask.arrived)
        homes = self._homes(ask, choice)
        for one in sorted(homes, key=lambda one: (-kept[one.name], first(one))):
            if first(one) <= most:
                return one
        return least(choice.free, ask, first)

    def _homes(self, ask: Ask, choice: Choice) -> list[Instance]:
        """Its two homes, as far as they have a place."""
        members = {one.name for one in choice.fleet if one.role != "decode"}
        for name in members:
            if name not in self._rings[0]:
                self._rings[0].add(name)
                self._rings[1].add(name)
        key = self._key(ask, len(members))
        one = self._rings[0].owner(key, members)
        other = self._rings[1].owner(key, members, without=one or "")
        # Equal ones go to the home of the first ring, not to the first name.
        found = [each for each in choice.free if each.name in (one, other)]
        return sorted(found, key=lambda each: each.name != one)

    def _key(self, ask: Ask, members: int) -> int:
        """The hash of its beginning: longer where a shorter one is too popular for two homes."""
        if not ask.prefix:
            return ask.number
        fair = 2 * self._total / max(members, 2) + CHANCE
        depths = list(self._depths(ask))
        for key in depths[:-1]:
            if self._seen[key] <= fair:
                return key
        return depths[-1]

    def _depths(self, ask: Ask) -> Iterable[int]:
        """Hashes of ever longer beginnings, finely at first: a next turn finds the same one."""
        blocks, length = self._blocks, len(ask.prefix)
        if length < blocks:
            yield ask.prefix[-1]
        depth = blocks
        while depth <= length:
            yield ask.prefix[depth - 1]
            depth = depth + blocks if depth < FINE * blocks else 2 * depth

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """Its beginnings are a little more popular."""
        if not ask.prefix:
            return
        self._seen.update(set(self._depths(ask)))
        self._total += 1
        if self._total >= 2 * REMEMBERED:
            self._seen = Counter(
                {key: count // 2 for key, count in self._seen.items() if count > 1}
            )
            self._total //= 2

    def ended(self, ask: Ask, instance: Instance, now: float, *, is_failed: bool) -> None:
        """Nothing to learn."""

    def gone(self, name: str) -> None:
        """Its share of both rings goes to those after it."""
        for ring in self._rings:
            ring.remove(name)
