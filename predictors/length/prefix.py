"""What was answered before on the same beginning: the strongest sign there is without the text.

Blocks of a prompt's tokens are hashed by engines and gateways for prefix caching, each hash
covering all before it. A request that goes on where another ended is the next turn of its
conversation, and people's turns resemble each other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from predictors.distribution import Floats

# Turns looked back.
MOST_TURNS = 8
# A prompt that is longer than its parent and that one's answer by less is the next turn.
_MESSAGE_TOKENS = 600

FEATURES = (
    "log_input", "log_blocks", "log_shared_blocks", "shared_ratio", "log_fresh_tokens",
    "turns", "log_parent_answer", "log_growth", "log_message", "missing_blocks", "is_next_turn",
    "log_gap", "is_near", "answers_mean", "answers_least", "answers_most", "log_second_answer",
    "log_third_answer", "log_parent_message", "has_parent", "has_second",
)  # fmt: skip
WIDTH = len(FEATURES)


@dataclass(slots=True)
class _Request:
    input_tokens: float
    blocks: int
    at_seconds: float
    parent: int
    answer: float = float("nan")


class PrefixMemory:
    """Requests by their blocks. Not thread-safe: one owner.

    Args:
        most_requests: remembered, newest first.
    """

    def __init__(self, most_requests: int = 50_000) -> None:
        self._most = most_requests
        self._requests: OrderedDict[int, _Request] = OrderedDict()
        self._last: dict[int, int] = {}
        self._count = 0

    def arrive(
        self, blocks: Sequence[int], input_tokens: float, at_seconds: float
    ) -> tuple[Floats, int]:
        """(features, ticket) of a request that arrives now; the ticket brings its answer later."""
        features, parent = self.look(blocks, input_tokens, at_seconds)
        ticket = self._count
        self._count += 1
        self._requests[ticket] = _Request(input_tokens, len(blocks), at_seconds, parent)
        for block in blocks:
            self._last[block] = ticket
        self._forget()
        return features, ticket

    def answered(self, ticket: int, length: float) -> None:
        """The answer of an earlier request has ended."""
        request = self._requests.get(ticket)
        if request is not None:
            request.answer = length

    def look(
        self, blocks: Sequence[int], input_tokens: float, at_seconds: float
    ) -> tuple[Floats, int]:
        """(features, number of the parent or -1) without remembering the request."""
        shared = 0
        for block in blocks:
            if self._last.get(block) not in self._requests:
                break
            shared += 1
        # The first block alone is a template that everybody has.
        parent = self._last[blocks[shared - 1]] if shared > 1 else -1
        out = np.zeros(WIDTH)
        size = input_tokens if np.isfinite(input_tokens) else 512.0 * len(blocks)
        out[0], out[1], out[2] = np.log1p(size), np.log1p(len(blocks)), np.log1p(shared)
        out[3] = shared / max(len(blocks), 1)
        out[4] = np.log1p(max(size - 512 * shared, 0.0))
        chain = self._chain(parent)
        if chain:
            _describe(out, chain, size, shared, at_seconds)
        return out, parent

    def _chain(self, parent: int) -> list[_Request]:
        chain: list[_Request] = []
        while parent in self._requests and len(chain) < MOST_TURNS:
            chain.append(self._requests[parent])
            parent = chain[-1].parent
        # Of an answer still being written only its beginning is known: nothing to learn from.
        return [request for request in chain if np.isfinite(request.answer)]

    def _forget(self) -> None:
        while len(self._requests) > self._most:
            self._requests.popitem(last=False)
        if len(self._last) > 40 * self._most:
            self._last = {b: t for b, t in self._last.items() if t in self._requests}


def _describe(
    out: Floats, chain: list[_Request], size: float, shared: int, at_seconds: float
) -> None:
    parent = chain[0]
    growth = size - parent.input_tokens
    message = growth - parent.answer
    answers = np.log1p([request.answer for request in chain])
    out[5], out[6] = len(chain), answers[0]
    out[7], out[8] = _signed_log(growth), _signed_log(message)
    out[9] = np.clip(shared - parent.blocks, -10, 10) / 3
    out[10] = float(shared >= parent.blocks - 1)
    gap = at_seconds - parent.at_seconds
    out[11] = np.log1p(max(gap, 0.0)) if np.isfinite(gap) else 0.0
    out[12] = float(abs(message) < _MESSAGE_TOKENS)
    out[13], out[14], out[15] = answers.mean(), answers.min(), answers.max()
    out[16] = answers[1] if len(chain) > 1 else answers[0]
    out[17] = answers[2] if len(chain) > 2 else out[16]
    if len(chain) > 1:
        second = chain[1]
        out[18] = _signed_log(parent.input_tokens - second.input_tokens - second.answer)
    out[19], out[20] = 1.0, float(len(chain) > 1)


def _signed_log(value: float) -> float:
    return float(np.sign(value) * np.log1p(abs(value))) if np.isfinite(value) else 0.0
