"""Where the gateway's engines come from: named ones, and a file that is watched."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from controller.gateway.engine_facts import UNKNOWN, Facts
from controller.gateway.fleet import Pace, Role
from controller.gateway.health import Health
from store.clock import Clock
from store.errors import ConfigError

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
MOST_FILE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Named:
    """An engine that somebody named.

    Attributes:
        name: unique.
        url: its address.
        models: it answers to; empty asks it.
        role: of a replica.
        told: its seats and cache, as far as somebody said.
        pace: None learns it.
    """

    name: str
    url: str
    models: frozenset[str] = frozenset()
    role: Role = "whole"
    told: Facts = UNKNOWN
    pace: Pace | None = None


def named(given: Iterable[str]) -> tuple[Named, ...]:
    """Of texts like http://gpu-3:8000 or big=http://gpu-3:8000.

    Raises:
        ConfigError: two have one name.
    """
    found: dict[str, Named] = {}
    for text in given:
        name, sign, url = text.partition("=")
        if not sign or "/" in name or ":" in name:
            url = text
            name = url.split("://")[-1].rstrip("/")
        if name in found:
            raise ConfigError(f"two engines are called '{name}'", where="gateway.upstreams",
                              hint="name each once, or give names as NAME=URL")  # fmt: skip
        found[name] = Named(name, url)
    return tuple(found.values())


def read_file(path: Path) -> tuple[Named, ...]:
    """Engines that a file names.

    Args:
        path: `endpoints.json` of a local fleet ({"pools": {POOL: [{"address", "replica"}]}}), or
            target groups ([{"targets": […], "labels": {"model", "role", "replica", "seats",
            "cache_tokens", "prompt_token_seconds", "step_seconds", "sequence_seconds"}}]).

    Raises:
        ConfigError: it cannot be read, or is neither.
    """
    try:
        with path.open("rb") as opened:
            told = orjson.loads(opened.read(MOST_FILE_BYTES))
        if isinstance(told, dict):
            return _of_pools(told["pools"])
        return _of_groups(told)
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=str(path)) from None
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError):
        raise ConfigError(
            "names no engines", where=str(path),
            hint='write [{"targets": ["127.0.0.1:8201"]}], or let the local fleet write it',
        ) from None  # fmt: skip


def _of_pools(pools: Mapping[str, Any]) -> tuple[Named, ...]:
    return tuple(
        Named(f"{pool}/{one['replica']}", _url(one["address"]))
        for pool, replicas in pools.items()
        for one in replicas
    )


def _of_groups(groups: Iterable[Mapping[str, Any]]) -> tuple[Named, ...]:
    found: dict[str, Named] = {}
    for group in groups:
        labels = group.get("labels") or {}
        model, role = str(labels.get("model", "")), labels.get("role", "whole")
        for target in group["targets"]:
            name = str(labels.get("replica") or target)
            models = frozenset({model} if model else ())
            kept: Role = role if role in ("whole", "prefill", "decode") else "whole"
            found[name] = Named(
                name, _url(str(target)), models, kept, _facts(labels), _pace(labels)
            )
    return tuple(found.values())


def _facts(labels: Mapping[str, Any]) -> Facts:
    """Of labels, which are texts; what is none, or not above 0, is asked of the engine."""
    seats, cache = (int(labels.get(name) or 0) for name in ("seats", "cache_tokens"))
    return Facts(seats if seats > 0 else None, cache if cache > 0 else None)


def _pace(labels: Mapping[str, Any]) -> Pace | None:
    """All three numbers, or none."""
    names = ("prompt_token_seconds", "step_seconds", "sequence_seconds")
    terms = [float(labels.get(name) or "nan") for name in names]
    return Pace(*terms) if all(0 <= one < math.inf for one in terms) else None


def _url(address: str) -> str:
    return address if "://" in address else f"http://{address}"


class Upstreams:
    """Keeps the gateway's engines equal to what is named.

    Args:
        health: is told.
        fixed: always there.
        file: watched; None is none.
        clock: the time.
    """

    def __init__(
        self, health: Health, fixed: Iterable[Named], file: Path | None, clock: Clock
    ) -> None:
        self.problem = ""
        self._health = health
        self._fixed = tuple(fixed)
        self._file = file
        self._clock = clock
        self._stamp: tuple[int, int, int] | None = None
        self._known: dict[str, Named] = {}

    def look(self) -> None:
        """Take what is new, let go of what is gone. A file that cannot be read changes nothing.

        Raises:
            ConfigError: the address of a fixed engine is none.
        """
        told = self._from_file()
        if told is None:
            return
        wanted = {one.name: one for one in (*self._fixed, *told)}
        for name, one in tuple(self._known.items()):
            if wanted.get(name) != one:
                self._health.remove(name)
                del self._known[name]
        for name, one in wanted.items():
            if name not in self._known:
                self._health.add(name, one.url, models=one.models, told=one.told,
                                 pace=one.pace, role=one.role)  # fmt: skip
                self._known[name] = one

    async def watch(self) -> None:
        """Look again and again."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            try:
                self.look()
                self._health.tend()
            except ConfigError as error:
                self._complain(str(error))

    def _from_file(self) -> tuple[Named, ...] | None:
        """None where nothing has changed."""
        if self._file is None:
            return () if not self._known else None
        try:
            found = self._file.stat()
        except OSError as error:
            self._complain(f"{self._file}: {error.strerror}")
            return () if not self._known else None
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stamp == self._stamp:
            return None
        try:
            told = read_file(self._file)
        except ConfigError as error:
            self._complain(str(error))
            return () if not self._known else None
        self._stamp, self.problem = stamp, ""
        return told

    def _complain(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("upstreams_unread", extra={"problem": problem})
        self.problem = problem
