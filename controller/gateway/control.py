"""The server's word, asked for again and again: policy, replicas on their way, lengths.

When the server is away, the gateway goes on by the last good word, which lies on disk beside the
spool so that a restart does not forget it; its age is told. A word that cannot be used changes
nothing.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from collector.agent.post import Poster, Unreachable
from controller.gateway.fleet import Starting
from controller.gateway.lengths import TableLengths, table_of
from controller.gateway.rows import Marks
from store.clock import Clock
from store.errors import ServescopeError

log = logging.getLogger(__name__)

FILE = "control.json"
MOST_STARTING = 100
FORGET_STARTING_SECONDS = 60.0
"""A word of replicas on their way is believed so long; after it nobody promises them."""


@dataclass(frozen=True, slots=True)
class ControlState:
    """How it stands with the server's word.

    Attributes:
        policy_version: in force; None for the gateway's own settings.
        age_seconds: since the server was heard last; None while it never was by this process.
        problem: why it is not heard, or cannot be followed; None when all is well.
        is_from_disk: whether what is in force is what an earlier process was told.
    """

    policy_version: int | None
    age_seconds: float | None
    problem: str | None
    is_from_disk: bool


class Control:
    """Asks the server, and lets the gateway go by its answer.

    Args:
        name: of this gateway.
        poster: the way to the server.
        folder: where the last good word is kept.
        clock: the time.
        standing: tells how this gateway stands, for the server.
        apply: puts a policy in force; raises ServescopeError for one that cannot be.
        starting: takes replicas on their way.
        seats: of a replica that says nothing of its own.
        every_seconds: between two questions.
    """

    def __init__(
        self,
        name: str,
        poster: Poster,
        folder: Path,
        clock: Clock,
        standing: Callable[[], Mapping[str, Any]],
        apply: Callable[[Mapping[str, Any]], None],
        starting: Callable[[tuple[Starting, ...]], None],
        seats: int = 16,
        every_seconds: float = 2.0,
    ) -> None:
        self.lengths = TableLengths()
        self.marks = Marks()
        self._path = f"/api/v1/gateways/{quote(name, safe='')}/heartbeat"
        self._poster, self._file, self._clock = poster, folder / FILE, clock
        self._standing, self._apply, self._starting = standing, apply, starting
        self._seats, self._every_seconds = seats, every_seconds
        self._lengths_version: str | None = None
        self._refused: int | None = None
        self._kept: dict[str, Any] = {}
        self._heard: float | None = None
        self._problem: str | None = None
        self._is_from_disk = False

    def load(self) -> None:
        """Go by what an earlier process was told last; a damaged file is as none."""
        try:
            told = orjson.loads(self._file.read_bytes())
            self._follow(told)
            self._is_from_disk = self.marks.policy_version is not None
        except (OSError, ValueError, TypeError, AttributeError, KeyError):
            return

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.ask()
            await self._clock.sleep(self._every_seconds)

    async def ask(self) -> bool:
        """Once; whether the server answered."""
        has = {"policy": self.marks.policy_version, "lengths": self._lengths_version}
        if self._refused is not None:
            has["policy"] = self._refused
        body = orjson.dumps({**self._standing(), "has": has})
        try:
            answer = await self._poster.post(self._path, {"Content-Type": "application/json"}, body)
            if answer.status != 200:
                raise Unreachable(f"HTTP {answer.status}")  # noqa: TRY301 - as if it were away
            self._problem_is(self._follow(orjson.loads(answer.body)))
        except (Unreachable, ValueError, TypeError, AttributeError, KeyError) as why:
            self._problem_is(" ".join(str(why).split())[:300] or type(why).__name__)
            self._forget_starting()
            return False
        self._heard, self._is_from_disk = self._clock.monotonic(), False
        return True

    def state(self) -> ControlState:
        """How it stands."""
        age = None if self._heard is None else self._clock.monotonic() - self._heard
        return ControlState(self.marks.policy_version, age, self._problem, self._is_from_disk)

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._poster.aclose()

    def _follow(self, told: Mapping[str, Any]) -> str | None:
        """Go by what was told; gives what of it cannot be followed."""
        problem, is_new = None, False
        version = _whole(told.get("policy_version"))
        policy = told.get("policy")
        if isinstance(policy, dict) and version is not None:
            problem = self._use(policy, version)
            is_new = problem is None
        elif version is not None and version == self._refused:
            problem = self._problem
        if isinstance(told.get("lengths"), list):
            self.lengths.table = table_of(told["lengths"])
            self._lengths_version = str(told.get("lengths_version"))
            self._kept |= {
                "lengths": told["lengths"], "lengths_version": self._lengths_version
            }  # fmt: skip
            is_new = True
        self.marks = Marks(self.marks.policy_version, _whole(told.get("decision_id")))
        self._on_their_way(told.get("starting", []))
        if is_new:
            self._keep()
        return problem

    def _use(self, policy: Mapping[str, Any], version: int) -> str | None:
        try:
            self._apply(policy)
        except ServescopeError as error:
            # Of a newer server, say: it is not asked for again, and the one before stays.
            self._refused = version
            log.warning("policy_refused", extra={"version": version, "why": str(error)})
            return f"version {version} of the policy cannot be used here: {error}"
        self._refused = None
        self.marks = Marks(version, self.marks.decision_id)
        self._kept |= {"policy": dict(policy), "policy_version": version}
        log.info("policy_changed", extra={"version": version})
        return None

    def _on_their_way(self, told: Any) -> None:
        now = self._clock.monotonic()
        found = []
        for one in told[:MOST_STARTING]:
            ready, late = float(one["ready_seconds"]), float(one["late_seconds"])
            if math.isfinite(ready) and math.isfinite(late):
                seats = _whole(one.get("seats")) or self._seats
                found.append(Starting(now + ready, now + max(late, ready), seats))
        self._starting(tuple(found))

    def _forget_starting(self) -> None:
        heard = self._heard
        if heard is None or self._clock.monotonic() - heard > FORGET_STARTING_SECONDS:
            self._starting(())

    def _problem_is(self, problem: str | None) -> None:
        if (problem is None) != (self._problem is None):
            log.info("server_heard" if problem is None else "server_not_heard",
                     extra={"why": problem})  # fmt: skip
        self._problem = problem

    def _keep(self) -> None:
        aside = self._file.with_suffix(".new")
        with suppress(OSError):  # a full disk: the word still counts
            aside.write_bytes(orjson.dumps(self._kept))
            os.replace(aside, self._file)


def _whole(told: Any) -> int | None:
    return told if isinstance(told, int) and not isinstance(told, bool) else None
