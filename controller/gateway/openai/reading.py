"""What a request's body says: its sizes, and who sent it. The prompt is not kept."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

import orjson

from controller.gateway.admission.base import Refusal
from controller.gateway.ask import PREFIX_BLOCK_TOKENS
from controller.gateway.hooks import Said
from controller.gateway.openai.richness import MOST_PARTS, is_too_rich

BYTES_PER_TOKEN = 4
"""Of UTF-8, English and most others; what the engine counted is kept beside the estimate."""
MESSAGE_TOKENS = 4
"""What a template adds to each message; source: OpenAI's cookbook, about 3 and the role."""
PART_TOKENS = 512
"""For a picture, or a sound: unknown before the engine has seen it."""
MOST_BLOCKS = 1_024
_BLOCK_BYTES = PREFIX_BLOCK_TOKENS * BYTES_PER_TOKEN

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
_FIELD = {CHAT: "messages", COMPLETIONS: "prompt", EMBEDDINGS: "input"}
KNOWN = frozenset(_FIELD)


def read(path: str, body: bytes) -> Said | Refusal:
    """What a body says.

    Args:
        path: of the request. What is sent to others than `KNOWN` need not be JSON at all.
        body: as it came.

    Returns:
        or why it cannot be answered, status 400.
    """
    if is_too_rich(body):
        return _bad("too_many_values", f"the body holds more than {MOST_PARTS:,} values")
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if path not in KNOWN:
            return Said(path)
        return _bad("invalid_json", f"the body is not valid JSON: {error}")
    if not isinstance(told, dict):
        if path not in KNOWN:
            return Said(path)
        return _bad("invalid_body", 'the body must be a JSON object, like {"model": …}')
    problem = _problem(path, told) if path in KNOWN else None
    return problem or _said(path, told)


def _problem(path: str, told: Mapping[str, Any]) -> Refusal | None:
    field = _FIELD[path]
    if field not in told:
        return _bad("missing_field", f"'{field}' is missing")
    for name, kinds, text in (
        ("model", str, "a text"),
        ("stream", bool, "true or false"),
        ("max_tokens", int, "a whole number"),
        ("max_completion_tokens", int, "a whole number"),
        ("messages", list, "a list"),
    ):
        value = told.get(name)
        if value is not None and (not isinstance(value, kinds) or (value is True and kinds is int)):
            return _bad("invalid_type", f"'{name}' must be {text}")
    return None


def _said(path: str, told: Mapping[str, Any]) -> Said:
    text, extra_tokens = _prompt(told)
    model = told.get("model")
    return Said(
        path,
        model if isinstance(model, str) else "",
        told.get("stream") is True,
        _text(told, "user") or _text(told, "safety_identifier"),
        max(-(-len(text) // BYTES_PER_TOKEN) + extra_tokens, 1),
        _most(path, told),
        blocks(str(model or ""), text),
        _text(told, "prompt_cache_key"),
        # Salted by Python at each start, so that it tells nothing of the prompt elsewhere.
        hash(text),
    )


def blocks(model: str, prompt: bytes) -> tuple[int, ...]:
    """Hashes of a prompt's whole blocks, each with all that came before it.

    Args:
        model: beginnings are kept for one model alone.
        prompt: its bytes, as they were estimated.
    """
    last = model.encode("utf-8", "surrogatepass")
    found = []
    for start in range(0, min(len(prompt), MOST_BLOCKS * _BLOCK_BYTES), _BLOCK_BYTES):
        block = prompt[start : start + _BLOCK_BYTES]
        if len(block) < _BLOCK_BYTES:
            break
        last = blake2b(last + b"\0" + block, digest_size=8).digest()
        found.append(int.from_bytes(last, "big"))
    return tuple(found)


def _prompt(told: Mapping[str, Any]) -> tuple[bytes, int]:
    """All text of a prompt in its order, and tokens that are no text."""
    pieces, extra = [], 0
    for text, tokens in _parts(told):
        pieces.append(text)
        extra += tokens
    return b"\n".join(pieces), extra


def _parts(told: Mapping[str, Any]) -> Iterator[tuple[bytes, int]]:
    tools = told.get("tools")
    if tools:
        yield _dumped(tools), 0
    messages = told.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            yield _bytes(str(message.get("role", ""))), MESSAGE_TOKENS
            yield from _content(message.get("content"))
            if message.get("tool_calls"):
                yield _dumped(message["tool_calls"]), 0
    for name in ("prompt", "input"):
        yield from _content(told.get(name))


def _content(content: Any, depth: int = 2) -> Iterator[tuple[bytes, int]]:
    """A text, a list of texts, of tokens, of lists of tokens, or of parts."""
    if isinstance(content, str):
        yield _bytes(content), 0
    elif isinstance(content, list) and depth:
        if content and isinstance(content[0], int):
            yield _numbers(content)
            return
        for part in content:
            if isinstance(part, dict):
                text = part.get("text")
                yield (_bytes(text), 0) if isinstance(text, str) else (b"", PART_TOKENS)
            else:
                yield from _content(part, depth - 1)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _numbers(tokens: list[Any]) -> tuple[bytes, int]:
    """Tokens as numbers: the same numbers are the same prefix, and each counts as one token."""
    try:
        return array("i", tokens).tobytes(), 0
    except (TypeError, OverflowError):
        return b"", len(tokens)


def _dumped(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return b""  # nested deeper than anybody means


def _most(path: str, told: Mapping[str, Any]) -> int | None:
    if path == EMBEDDINGS:
        return 1
    for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        value = told.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            count = told.get("n")
            return value * count if isinstance(count, int) and 1 < count <= 128 else value
    return None


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    return value[:256] if isinstance(value, str) else ""


def _bad(code: str, text: str) -> Refusal:
    return Refusal(code, text, "fleet", 400)
