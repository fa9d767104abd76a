"""Desired replicas that others come and read; they do the scaling."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from controller.actuators.base import Scale
from controller.actuators.platform import NoAnswer
from store.clock import Clock

_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Desired:
    """What a pool is to have.

    Attributes:
        pool: whose.
        replicas: how many.
        decision_id: why.
        published_at: aware UTC.
        revision: grows with each change.
    """

    pool: str
    replicas: int
    decision_id: str
    published_at: datetime
    revision: int


class Board:
    """One number a pool; none until something was decided, and never 0 in its place.

    Args:
        pools: that it has.
        clock: the time.
        file: keeps the numbers over a restart; None forgets them.
    """

    def __init__(self, pools: Sequence[str], clock: Clock, file: Path | None) -> None:
        self.pools = tuple(pools)
        self._clock = clock
        self._file = file
        self._desired: dict[str, Desired] | None = None
        self._changed = asyncio.Event()

    def get(self, pool: str) -> Desired | None:
        """What is published; None: nothing was decided yet.

        Raises:
            NoAnswer: the file cannot be read.
        """
        return self._all().get(pool)

    def all(self) -> tuple[Desired, ...]:
        """Of every pool that something was decided for."""
        found = self._all()
        return tuple(found[pool] for pool in self.pools if pool in found)

    def put(self, pool: str, replicas: int, decision_id: str) -> None:
        """Publish another number.

        Raises:
            NoAnswer: the file cannot be written; nothing is published then.
        """
        desired = dict(self._all())
        before = desired.get(pool)
        revision = 1 if before is None else before.revision + 1
        desired[pool] = Desired(pool, replicas, decision_id, self._clock.now(), revision)
        self._keep(desired)
        self._desired = desired
        self._changed.set()
        self._changed = asyncio.Event()

    def next_change(self) -> asyncio.Event:
        """Set by the next number of any pool; take it before reading, or one may be missed."""
        return self._changed

    def scale(self, pool: str) -> Scale:
        """As the contract has it; how many serve is not known here."""
        found = self.get(pool)
        if found is None:
            return Scale(pool, None, None)
        return Scale(pool, found.replicas, None, str(found.revision), decision_id=found.decision_id)

    def _all(self) -> dict[str, Desired]:
        if self._desired is None:
            self._desired = self._load()
        return self._desired

    def _load(self) -> dict[str, Desired]:
        if self._file is None:
            return {}
        try:
            with self._file.open("rb") as opened:
                told = json.loads(opened.read(_FILE_BYTES))
            found = [_desired(one) for one in told["desired"]]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NoAnswer(f"{self._file}: {error}; mend it, or remove it") from None
        return {one.pool: one for one in found if one.pool in self.pools}

    def _keep(self, desired: Mapping[str, Desired]) -> None:
        if self._file is None:
            return
        told = [
            {
                "pool": one.pool,
                "replicas": one.replicas,
                "decision_id": one.decision_id,
                "published_at": one.published_at.isoformat(),
                "revision": one.revision,
            }
            for one in desired.values()
        ]
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            aside = self._file.with_name(f".{self._file.name}.part")
            aside.write_text(json.dumps({"desired": told}), "utf-8")
            aside.replace(self._file)
        except OSError as error:
            raise NoAnswer(f"{self._file}: {error.strerror}") from None


def _desired(told: Mapping[str, Any]) -> Desired:
    replicas, revision = told["replicas"], told["revision"]
    if not (isinstance(replicas, int) and isinstance(revision, int) and replicas >= 0):
        raise ValueError("no number of replicas")
    at = datetime.fromisoformat(told["published_at"])
    return Desired(str(told["pool"]), replicas, str(told["decision_id"]), at, revision)
