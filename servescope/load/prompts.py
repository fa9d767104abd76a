"""Prompts of about the right length, made as they are sent, alike where their blocks are alike."""

from __future__ import annotations

import random
from collections import OrderedDict
from functools import cache

from servescope.load.planning import Planned

# Each is one token, or nearly, of the vocabularies in use.
_WORDS = (
    *("the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "by"),
    *("on", "not", "he", "his", "but", "at", "are", "this", "have", "an", "had", "they", "you"),
    *("were", "their", "one", "all", "we", "can", "her", "has", "there", "been", "if", "more"),
    *("when", "will", "would", "who", "so", "no", "she", "other", "its", "may", "these", "what"),
    *("them", "than", "some", "him", "time", "into", "only", "do", "such", "new", "two", "any"),
)
_PHRASE_WORDS = 32
_PHRASES = 2048
_KEPT_BLOCKS = 4096


class Prompts:
    """Makes the text of requests.

    Args:
        tokens_per_word: of the engine's tokeniser, as measured; > 0.
        extra_tokens: that the engine adds to every prompt (a chat template).
    """

    def __init__(self, tokens_per_word: float = 1.0, extra_tokens: int = 0) -> None:
        self._tokens_per_word = tokens_per_word
        self._extra = extra_tokens
        self._blocks: OrderedDict[tuple[int, int], str] = OrderedDict()

    def text(self, planned: Planned) -> str:
        """About `planned.input_tokens` tokens, at least one word."""
        tokens = max(planned.input_tokens - self._extra, 1)
        words = max(round(tokens / self._tokens_per_word), 1)
        in_block = max(round(planned.block_tokens / self._tokens_per_word), 1)
        parts: list[str] = []
        for seed in planned.blocks:
            if words < in_block:
                break
            parts.append(self._block(seed, in_block))
            words -= in_block
        if words:
            # What begins a block but does not fill it begins with the block's words.
            place = len(parts)
            seed = planned.blocks[place] if place < len(planned.blocks) else planned.seed
            parts.append(self._words(seed, words))
        return " ".join(parts)

    def _block(self, seed: int, words: int) -> str:
        """Words of a block: always the same of a seed. They are kept, as most are shared."""
        key = (seed, words)
        found = self._blocks.get(key)
        if found is None:
            found = self._blocks[key] = self._words(seed, words)
            if len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return found

    def _words(self, seed: int, words: int) -> str:
        """Of one seed, more words begin with fewer."""
        dice = random.Random(seed)  # noqa: S311
        whole, rest = divmod(words, _PHRASE_WORDS)
        phrases = dice.choices(_phrases(), k=whole + 1)
        last = phrases.pop()
        if rest:
            phrases.append(" ".join(last.split(" ")[:rest]))
        return " ".join(phrases)


class ByteTokens:
    """Makes prompts of exactly so many tokens, for engines that take numbers: bytes, no words."""

    def text(self, planned: Planned) -> list[int]:
        """Of one seed always the same. The rest of a vocabulary may hold control tokens."""
        dice = random.Random(planned.seed)  # noqa: S311 - tokens, not secrets
        return [dice.randrange(256) for _ in range(planned.input_tokens)]


@cache
def _phrases() -> tuple[str, ...]:
    """Made once: thousands take tens of milliseconds."""
    dice = random.Random(7)  # noqa: S311 - words, not secrets
    return tuple(" ".join(dice.choices(_WORDS, k=_PHRASE_WORDS)) for _ in range(_PHRASES))


def sample(words: int) -> str:
    """Words to measure a tokeniser with."""
    dice = random.Random(11)  # noqa: S311
    return " ".join(dice.choices(_WORDS, k=words))
