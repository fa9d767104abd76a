"""For fleets whose prefill and decoding are apart: one replica for the prompt, one for the output.

The gate sends the request to the prefill replica and takes a seat of the decoding one that
`decoder` names; `handing` moves it there when its prompt is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from controller.gateway.ask import Ask
from controller.gateway.estimates import pace_among, slowness
from controller.gateway.fleet import Instance
from controller.gateway.routing.base import Choice, WaySpec
from controller.gateway.routing.turns import least, outstanding

SPEC = WaySpec(
    "prefill-decode",
    "Prefill and decoding apart",
    "Mooncake (FAST'25) Algorithm 1: earliest prefill, then the decoding replica with most room",
    may_starve="replicas that do both get requests only where no prefill replica has a place",
)


class PrefillDecode:
    """The earliest prefill, and the decoding replica whose cache is the least full.

    Where no prefill replica has a place, a whole one with the fewest requests does both.
    """

    spec = SPEC

    def __init__(self) -> None:
        self._tokens: Counter[str] = Counter()
        self._decoder: dict[int, tuple[str, int]] = {}

    def choose(self, ask: Ask, choice: Choice) -> Instance | None:
        """The prefill replica whose prompts ahead, and this one, are done first."""
        usual = pace_among(choice.fleet)

        def seconds(one: Instance) -> float:
            tokens = one.prompt_tokens_ahead + ask.input_tokens - choice.kept(ask, one.name)
            return slowness(one) * tokens * (one.pace or usual).prompt_token_seconds

        prefills = [one for one in choice.free if one.role == "prefill"]
        if prefills and self.decoder(ask, choice.fleet) is not None:
            return least(prefills, ask, seconds)
        return least([one for one in choice.free if one.role == "whole"], ask, outstanding)

    def decoder(self, ask: Ask, fleet: Sequence[Instance]) -> Instance | None:
        """Which replica is to decode a request: one that has not failed it, where there is one.

        Args:
            ask: is sent to a prefill replica.
            fleet: all ready replicas that serve its model.

        Returns:
            None where no decoding replica has a free seat.
        """
        free = [one for one in fleet if one.role == "decode" and one.free_seats]
        return _emptiest([one for one in free if one.name not in ask.tried] or free, self._tokens)

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """Where it decodes, it takes room for all of it."""
        if instance.role == "decode":
            tokens = ask.input_tokens + round(ask.likely_output_tokens)
            self._decoder[ask.number] = (instance.name, tokens)
            self._tokens[instance.name] += tokens

    def ended(self, ask: Ask, instance: Instance, now: float, *, is_failed: bool) -> None:
        """What was booked there is free."""
        name, tokens = self._decoder.get(ask.number, ("", 0))
        if name == instance.name:
            del self._decoder[ask.number]
            self._tokens[name] -= tokens

    def gone(self, name: str) -> None:
        """Nothing decodes there any more."""
        self._tokens.pop(name, None)
        self._decoder = {
            number: found for number, found in self._decoder.items() if found[0] != name
        }


def _emptiest(decoders: Sequence[Instance], booked: Counter[str]) -> Instance | None:
    """By share of the cache where all tell how large it is, else by tokens."""
    known = all(one.cache_tokens for one in decoders)

    def load(one: Instance) -> tuple[float, str]:
        return booked[one.name] / ((one.cache_tokens or 1) if known else 1), one.name

    return min(decoders, key=load, default=None)
