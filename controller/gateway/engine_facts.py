"""What an engine says of its own size: requests it serves at once, tokens that its cache holds.

Asked when it answers for the first time, or again after it did not. Each has a place for it:

    llama-server  /props              total_slots; n_ctx of a slot, times the slots
    vLLM          /metrics            vllm:cache_config_info: num_gpu_blocks x block_size
    SGLang        /server_info, or    max_total_num_tokens and running requests of each of its parts
                  /get_server_info
    TGI           /info               max_batch_total_tokens, max_batch_size

llama-server does not say whether its slots share one cache (as without `--parallel`). Then the
cache is smaller than what is found here.

Source: llama.cpp tools/server (0.5), vLLM 0.32, SGLang 0.5, text-generation-inference 3.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from controller.gateway.http.asking import Asked

MOST_TOKENS = 1 << 40
MOST_SEATS = 1 << 20
_BLOCKS = re.compile(rb"^vllm[:_]cache_config_info\{(.*)\}", re.MULTILINE)
_LABEL = re.compile(rb'(?:^|,)(num_gpu_blocks|block_size)="(\d{1,12})"')


@dataclass(frozen=True, slots=True)
class Facts:
    """None is unknown.

    Attributes:
        seats: requests that it serves at once.
        cache_tokens: that its KV cache holds.
    """

    seats: int | None = None
    cache_tokens: int | None = None


UNKNOWN = Facts()


async def facts(get: Callable[[str], Awaitable[Asked]]) -> Facts | None:
    """Ask in all places until one knows; None where a question got no answer: ask again later.

    Args:
        get: asks for a path.
    """
    for path, read in _PLACES:
        asked = await get(path)
        if asked.problem:
            return None
        if asked.status == 200 and (found := read(asked.body)) != UNKNOWN:
            return found
    return UNKNOWN


def of_llama(body: bytes) -> Facts:
    """Of llama-server's /props."""
    told = _document(body)
    seats = _whole(told.get("total_slots"), MOST_SEATS)
    usual = told.get("default_generation_settings")
    slot = _whole(usual.get("n_ctx"), MOST_TOKENS) if isinstance(usual, dict) else None
    return Facts(seats, seats * slot if seats and slot else None)


def of_vllm(body: bytes) -> Facts:
    """Of vLLM's /metrics. Each data-parallel engine tells the sum of all, so the largest counts."""
    found = 0
    for series in _BLOCKS.finditer(body):
        labels = {name: int(value) for name, value in _LABEL.findall(series[1])}
        found = max(found, labels.get(b"num_gpu_blocks", 0) * labels.get(b"block_size", 0))
    return Facts(None, _whole(found, MOST_TOKENS))


def of_sglang(body: bytes) -> Facts:
    """Of SGLang's /server_info. Data-parallel parts are alike; each tells what it has itself."""
    told = _document(body)
    states = told.get("internal_states")
    parts = [one for one in states if isinstance(one, dict)] if isinstance(states, list) else []
    tokens = _whole(told.get("max_total_num_tokens"), MOST_TOKENS)
    most = [_whole(one.get("effective_max_running_requests_per_dp"), MOST_SEATS) for one in parts]
    known = [one for one in most if one is not None]
    seats = sum(known) if known and len(known) == len(most) else None
    return Facts(
        seats if tokens else None,
        _whole(tokens * max(len(parts), 1), MOST_TOKENS) if tokens else None,
    )


def of_tgi(body: bytes) -> Facts:
    """Of TGI's /info."""
    told = _document(body)
    tokens = _whole(told.get("max_batch_total_tokens"), MOST_TOKENS)
    return Facts(_whole(told.get("max_batch_size"), MOST_SEATS) if tokens else None, tokens)


_PLACES = (
    ("/props", of_llama),
    ("/server_info", of_sglang),
    ("/get_server_info", of_sglang),
    ("/info", of_tgi),
    ("/metrics", of_vllm),
)


def _document(body: bytes) -> Mapping[str, Any]:
    with suppress(orjson.JSONDecodeError):
        told = orjson.loads(body)
        if isinstance(told, dict):
            return told
    return {}


def _whole(told: Any, most: int) -> int | None:
    """A number that can be one; JSON may say 4096.0."""
    if isinstance(told, bool) or not isinstance(told, int | float) or not math.isfinite(told):
        return None
    return int(told) if 1 <= told <= most and told == int(told) else None
