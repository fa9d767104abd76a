"""Which beginnings of prompts each replica was sent: what its prefix cache may still hold."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from controller.gateway.ask import PREFIX_BLOCK_TOKENS, Ask

MOST_BLOCKS = 65_536
"""Blocks remembered for a replica whose cache size nobody knows: 4 million tokens, about 10 MB."""


class Prefixes:
    """Blocks by replica, the least recently used forgotten first, as engines do.

    It is a guess: the engine may have thrown out more. What the engine says of a finished request
    (`cached_tokens` of its usage) is the truth, and is kept in the request's row.
    """

    def __init__(self) -> None:
        self._kept: dict[str, OrderedDict[int, None]] = {}
        self._most: dict[str, int] = {}

    def size(self, instance: str, cache_tokens: int | None) -> None:
        """Tell how large a replica's cache is; None is unknown."""
        most = MOST_BLOCKS if cache_tokens is None else cache_tokens // PREFIX_BLOCK_TOKENS
        self._most[instance] = min(max(most, 1), MOST_BLOCKS)

    def cached_tokens(self, ask: Ask, instance: str) -> int:
        """Tokens of the prompt's beginning that the replica was sent before and may have kept."""
        kept = self._kept.get(instance)
        if not kept or not ask.prefix:
            return 0
        blocks = 0
        for block in ask.prefix:
            if block not in kept:
                break
            blocks += 1
        # At least one token is always computed: the engine needs it for the first answer.
        return min(blocks * PREFIX_BLOCK_TOKENS, max(ask.input_tokens - 1, 0))

    def best(self, ask: Ask, instances: Iterable[str]) -> int:
        """The most that any of the replicas may have kept."""
        return max((self.cached_tokens(ask, name) for name in instances), default=0)

    def sent(self, ask: Ask, instance: str) -> None:
        """The replica gets this prompt."""
        kept = self._kept.setdefault(instance, OrderedDict())
        # Ends are forgotten first, as in engines: nothing is found without its start.
        for block in reversed(ask.prefix):
            kept[block] = None
            kept.move_to_end(block)
        while len(kept) > self._most.get(instance, MOST_BLOCKS):
            kept.popitem(last=False)

    def emptied(self, instance: str) -> None:
        """The replica was away: whoever is there now may have begun with an empty cache."""
        self._kept.pop(instance, None)

    def gone(self, instance: str) -> None:
        """The replica left."""
        self.emptied(instance)
        self._most.pop(instance, None)
