"""Streams whose every chunk is numbered by the engine, and what becomes of them at a kill.

llama-server tells with each chunk how many tokens it has made (`timings_per_token`), so a client
sees which chunk is missing. The engine is stopped before it is killed: what it had in flight is
then known exactly.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import httpx2
from live_gateway_fleet import OTHERS, Stage, wait_for

from servescope.live.sending import LLAMA_FIELDS

TOKENS = 200


@dataclass
class Seen:
    """What one client saw of its stream."""

    trace_id: str = field(default_factory=lambda: secrets.token_hex(16))
    numbers: list[int] = field(default_factory=list)
    end: str = ""
    """"done", the code of an error in the stream, or "cut"."""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with the first chunk, or the end."""

    @property
    def is_whole(self) -> bool:
        """Every chunk once, in its order, and the end."""
        return self.end == "done" and self.numbers == list(range(1, TOKENS + 1))


@dataclass(frozen=True)
class Kill:
    """What happened.

    Attributes:
        began: when the numbered streams were asked for, seconds of the epoch.
        at: when it was killed.
        engine: which.
        in_flight: that the gateway had there when it was stopped.
        away_seconds: from the kill to when the gateway used it again.
        over: when the last numbered stream had ended, or the engine was back.
    """

    began: float
    at: float
    engine: str
    in_flight: int
    away_seconds: float
    over: float
    witnesses: list[Seen]


async def watch(stage: Stage, seen: Seen) -> None:
    """One stream from its beginning to whatever end."""
    key = next(one.key for one in OTHERS if one.name == "witness")
    headers = {
        "authorization": f"Bearer {key}",
        "traceparent": f"00-{seen.trace_id}-{secrets.token_hex(8)}-01",
    }
    body = {
        "model": "tiny", "prompt": "the queue of a busy engine", "max_tokens": TOKENS,
        "stream": True, "timings_per_token": True, "ignore_eos": True, **LLAMA_FIELDS,
    }  # fmt: skip
    async with httpx2.AsyncClient(
        base_url=stage.gateway, headers=headers, timeout=300, trust_env=False
    ) as asker:
        try:
            async with asker.stream("POST", "/v1/completions", json=body) as answer:
                async for line in answer.aiter_lines():
                    if line.startswith("data: "):
                        take(seen, line[6:])
        except httpx2.HTTPError:
            seen.end = seen.end or "cut"
        finally:
            seen.begun.set()


def take(seen: Seen, data: str) -> None:
    """One event."""
    if data == "[DONE]":
        seen.end = "done"
        return
    told: dict[str, Any] = json.loads(data)
    if "error" in told:
        seen.end = told["error"]["code"]
    elif any(choice.get("text") for choice in told.get("choices", ())):
        seen.numbers.append(told["timings"]["predicted_n"])
        seen.begun.set()


async def kill(stage: Stage, name: str, count: int) -> Kill:
    """Start numbered streams, kill an engine while all of them flow, start it again."""
    began, seen = time.time(), [Seen() for _ in range(count)]
    streams = [asyncio.create_task(watch(stage, one)) for one in seen]
    await asyncio.gather(*(one.begun.wait() for one in seen))
    engine = stage.engines[name]
    await asyncio.to_thread(engine.freeze)
    told = next(one for one in stage.status()["instances"] if one["name"] == name)
    at = time.time()
    engine.kill()
    await asyncio.to_thread(engine.again)
    await asyncio.to_thread(wait_for, stage, 3)
    away = time.time() - at
    await asyncio.gather(*streams)
    return Kill(began, at, name, told["running"], away, time.time(), seen)
