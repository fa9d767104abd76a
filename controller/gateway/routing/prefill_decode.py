"""For fleets whose prefill and decoding are apart: one replica for the prompt, one for the output.

The gate sends the request to the prefill replica. The proxy then has to hand it on, which it does
not do yet: send it there with `max_tokens` 1 and the engine's transfer parameters (vLLM:
`kv_transfer_params` with `do_remote_decode`), take those of the answer, and send the request with
them to `decoder(ask, fleet)`. Until then this way is for simulation.
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
        if prefills and any(one.role == "decode" for one in choice.fleet):
            return least(prefills, ask, seconds)
        return least([one for one in choice.free if one.role == "whole"], ask, outstanding)

    def decoder(self, ask: Ask, fleet: Sequence[Instance]) -> Instance | None:
        """Which replica decodes a request whose prompt is done; booked there until it ends.

        Args:
            ask: was sent to a prefill replica.
            fleet: all ready replicas that serve its model.

        Returns:
            None where no decoding replica is ready.
        """
        one = _emptiest([one for one in fleet if one.role == "decode"], self._tokens)
        if one is None:
            return None
        self._free(ask)
        tokens = ask.input_tokens + round(ask.likely_output_tokens)
        self._decoder[ask.number] = (one.name, tokens)
        self._tokens[one.name] += tokens
        return one

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """Nothing yet: where it decodes is chosen when its prompt is done."""

    def ended(self, ask: Ask, instance: Instance, now: float, *, is_failed: bool) -> None:
        """What was booked is free."""
        self._free(ask)

    def gone(self, name: str) -> None:
        """Nothing decodes there any more."""
        self._tokens.pop(name, None)
        self._decoder = {
            number: found for number, found in self._decoder.items() if found[0] != name
        }

    def _free(self, ask: Ask) -> None:
        name, tokens = self._decoder.pop(ask.number, ("", 0))
        if name in self._tokens:
            self._tokens[name] -= tokens


def _emptiest(decoders: Sequence[Instance], booked: Counter[str]) -> Instance | None:
    """By share of the cache where all tell how large it is, else by tokens."""
    known = all(one.cache_tokens for one in decoders)

    def load(one: Instance) -> tuple[float, str]:
        return booked[one.name] / ((one.cache_tokens or 1) if known else 1), one.name

    return min(decoders, key=load, default=None)
