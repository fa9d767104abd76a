"""Asking an engine whether it is well, what it serves and how large it is."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson

from controller.gateway.engine_facts import facts
from controller.gateway.http.asking import Asked, ask
from controller.gateway.upstream import HealthSettings, Upstream
from store.clock import Clock


class Probe:
    """One question after another, over the connections that requests use.

    Args:
        clock: the time.
        settings: how long an answer may take, and how often models are asked for.
    """

    def __init__(self, clock: Clock, settings: HealthSettings) -> None:
        self._clock = clock
        self._settings = settings

    async def look(self, upstream: Upstream) -> str:
        """Why it is not well; "" where it is."""
        health = await self._get(upstream, "/health")
        if health.status == 404:
            health = await self._get(upstream, "/v1/models")
        if health.problem:
            return health.problem
        if health.status >= 400:
            return f"answers {health.status}"
        if self._clock.monotonic() - upstream.models_at >= self._settings.models_seconds:
            await self._learn(upstream)
        return "" if upstream.models else "names no model"

    async def _learn(self, upstream: Upstream) -> None:
        told = await self._get(upstream, "/v1/models")
        documents = _documents(told.body) if told.status == 200 else []
        if documents or upstream.told_models:
            upstream.documents = documents
            named = frozenset(str(one["id"]) for one in documents)
            upstream.models = upstream.told_models or named
            upstream.models_at = self._clock.monotonic()
        if upstream.facts is None and None in (upstream.told.seats, upstream.told.cache_tokens):
            upstream.facts = await facts(lambda path: self._get(upstream, path))

    async def _get(self, upstream: Upstream, path: str) -> Asked:
        settings = self._settings
        return await ask(upstream.pool, path, settings.timeout_seconds, settings.key)


def _documents(body: bytes) -> list[dict[str, Any]]:
    """Of an answer of /v1/models; nonsense names no model."""
    with suppress(orjson.JSONDecodeError):
        told = orjson.loads(body)
        data = told.get("data") if isinstance(told, dict) else None
        return [
            one
            for one in (data if isinstance(data, list) else ())
            if isinstance(one, dict) and isinstance(one.get("id"), str)
        ][:1_000]
    return []
