"""What tenants used of their quotas, on disk, so that a restart of the gateway forgets none of it.

Small, written as a whole or not at all, and again only after something changed. What was used since
the last time is lost by `kill -9`, and so is what ran then.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from controller.gateway.admission.base import Rule
from controller.gateway.admission.parts import MOST_TENANTS
from controller.gateway.admission.quota import KeptQuota, Quota, Tokens
from store.clock import Clock

log = logging.getLogger(__name__)

FILE = "quotas.json"
KEEP_SECONDS = 5.0
MOST_BYTES = 16 << 20


class QuotaFile:
    """One file, of one gateway.

    Args:
        folder: it lies in; made where it is not there.
        clock: the time.
        rules: gives those in force, by name.
    """

    def __init__(self, folder: Path, clock: Clock, rules: Callable[[], Mapping[str, Rule]]) -> None:
        self.problem: str | None = None
        self._file, self._clock, self._rules = folder / FILE, clock, rules
        self._written: dict[str, Any] = {}
        self._writing: asyncio.Future[None] | None = None

    def load(self) -> None:
        """Go on from what an earlier process left; a damaged file is as none."""
        try:
            if self._file.stat().st_size > MOST_BYTES:
                return
            told = orjson.loads(self._file.read_bytes())
            passed = self._clock.now().timestamp() - float(told["at"])
            for name, rule in self._quotas().items():
                if name in told["quotas"]:
                    kept = _read(told["quotas"][name])
                    rule.restore(kept, passed, self._clock.monotonic())
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as why:
            log.warning("quotas_unread", extra={"why": str(why)[:300]})

    async def run(self) -> None:
        """Keep it up to date until cancelled."""
        while True:
            await self._clock.sleep(KEEP_SECONDS)
            body = self._changed()
            if body is not None:
                # Ten thousand tenants take a while to write: streams go on meanwhile.
                loop = asyncio.get_running_loop()
                self._writing = loop.run_in_executor(None, self._write, body)
                await asyncio.shield(self._writing)

    async def aclose(self) -> None:
        """Write what changed since the last time. Safe twice."""
        if self._writing is not None:
            await self._writing
        body = self._changed()
        if body is not None:
            self._write(body)

    def _quotas(self) -> dict[str, Quota]:
        return {name: rule for name, rule in self._rules().items() if isinstance(rule, Quota)}

    def _changed(self) -> bytes | None:
        now = self._clock.monotonic()
        kept = {name: rule.kept(now) for name, rule in self._quotas().items()}
        used = {name: dict(one.tokens) for name, one in kept.items()}
        if used == self._written:
            return None
        self._written = used
        quotas = {
            name: {"ends_in_seconds": one.ends_in_seconds, "tokens": used[name]}
            for name, one in kept.items()
        }
        return orjson.dumps({"at": self._clock.now().timestamp(), "quotas": quotas})

    def _write(self, body: bytes) -> None:
        aside = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(body)
            os.replace(aside, self._file)
            self.problem = None
        except OSError as why:
            # The next change is tried again; the quotas themselves still count.
            self._written = {}
            self.problem = f"{self._file} cannot be written ({why.strerror})"
            with suppress(OSError):
                aside.unlink()


def _read(told: Mapping[str, Any]) -> KeptQuota:
    """One quota of the file.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    tokens: dict[str, Tokens] = {}
    for tenant, (prompts, outputs) in list(told["tokens"].items())[-MOST_TENANTS:]:
        tokens[tenant] = (_amount(prompts), _amount(outputs))
    return KeptQuota(_amount(told["ends_in_seconds"]), tokens)


def _amount(told: Any) -> float:
    value = float(told)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{value} is no amount")
    return value
