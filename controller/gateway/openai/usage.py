"""What an engine says of an answer's tokens, and of why it ended."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from controller.gateway.attempt import Usage

MOST_WHOLE_BYTES = 1 << 20
"""Larger answers are passed on unread."""


_NOTHING = Usage()


@dataclass(slots=True)
class Told:
    """What was found so far.

    Attributes:
        usage: tokens.
        finish_reason: "" before it was told.
        error: the engine's own error; "" is none.
    """

    usage: Usage = _NOTHING
    finish_reason: str = ""
    error: str = ""

    def read(self, document: Any) -> None:
        """Take what a chunk, or a whole answer, tells; anything may be missing or be nonsense."""
        if not isinstance(document, dict):
            return
        if document.get("error"):
            told = document["error"]
            text = told.get("message") if isinstance(told, dict) else told
            self.error = str(text or "unknown")[:500]
        self._read_end(document.get("choices"))
        if isinstance(document.get("usage"), dict):
            self.usage = usage_of(document["usage"])
        elif isinstance(document.get("timings"), dict) and self.usage == _NOTHING:
            self.usage = usage_of_timings(document["timings"])

    def _read_end(self, choices: Any) -> None:
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and isinstance(choice.get("finish_reason"), str):
                self.finish_reason = choice["finish_reason"][:32]


def read_whole(body: bytes) -> Told:
    """Of an answer that is not a stream; what is no JSON tells nothing."""
    told = Told()
    if len(body) <= MOST_WHOLE_BYTES:
        with suppress(orjson.JSONDecodeError):
            told.read(orjson.loads(body))
    return told


def usage_of(told: Mapping[str, Any]) -> Usage:
    """Of OpenAI's `usage`, in the words of chat and completions, or of responses."""
    inner = told.get("prompt_tokens_details") or told.get("input_tokens_details")
    outer = told.get("completion_tokens_details") or told.get("output_tokens_details")
    return Usage(
        _count(told, "prompt_tokens", "input_tokens"),
        _count(told, "completion_tokens", "output_tokens"),
        _count(inner, "cached_tokens"),
        _count(outer, "reasoning_tokens"),
    )


def usage_of_timings(told: Mapping[str, Any]) -> Usage:
    """Of llama-server's `timings`: `prompt_n` leaves out what it had kept."""
    computed, kept = _count(told, "prompt_n"), _count(told, "cache_n")
    whole = None if computed is None or kept is None else computed + kept
    return Usage(whole, _count(told, "predicted_n"), kept)


def _count(told: Any, *names: str) -> int | None:
    if not isinstance(told, Mapping):
        return None
    for name in names:
        value = told.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40:
            return value
    return None
