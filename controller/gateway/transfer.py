"""The words by which vLLM hands a computed prompt from one engine to another.

Source: vLLM's NixlConnector and the proxy of its integration tests (v0.11 and later): the prefill
engine is asked for one token with `do_remote_decode`, tells `kv_transfer_params` in its answer, and
the decoding engine is sent the request with those.
"""

from __future__ import annotations

from typing import Any

import orjson

PARAMETERS = "kv_transfer_params"
MOST_BYTES = 1 << 20
"""Of parameters: a list of blocks of the prompt is in them, some bytes each."""
_NOT_FOR_PREFILL = ("stream_options", "min_tokens", "min_completion_tokens")
_ASKS: dict[str, Any] = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}


def prefill_body(body: bytes) -> bytes:
    """The request for the engine that computes the prompt: one token, and no stream.

    Raises:
        ValueError: it is no JSON object.
    """
    told = _object(body)
    kept = {name: value for name, value in told.items() if name not in _NOT_FOR_PREFILL}
    kept |= {PARAMETERS: _ASKS, "stream": False, "max_tokens": 1}
    if "max_completion_tokens" in kept:
        kept["max_completion_tokens"] = 1
    return orjson.dumps(kept)


def told_parameters(answer: bytes) -> dict[str, Any] | None:
    """What the prefill engine's answer says of where the prompt lies; None where it says nothing.

    Raises:
        ValueError: it is no JSON object.
    """
    told = _object(answer).get(PARAMETERS)
    return told if isinstance(told, dict) and told else None


def decode_body(body: bytes, parameters: dict[str, Any] | None) -> bytes:
    """The request for the engine that goes on; without parameters it computes the prompt itself.

    Raises:
        ValueError: it is no JSON object.
    """
    told = {name: value for name, value in _object(body).items() if name != PARAMETERS}
    return orjson.dumps(told | {PARAMETERS: parameters} if parameters else told)


def _object(body: bytes) -> dict[str, Any]:
    told = orjson.loads(body)
    if not isinstance(told, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - as orjson's own
    return told
