"""How every platform is acted upon: read, compare, write, read back."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from controller.actuators.base import Applied, Outcome, Scale
from controller.actuators.platform import Conflicted, NoAnswer, Platform, PlatformAnswer, Refused
from store.clock import Clock
from store.errors import ControllerError

MOST_REPLICAS = 100_000
MOST_DECISIONS = 256
_WRITES = 3


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited.

    Attributes:
        limit_seconds: longest wait for a whole call.
        told_back_seconds: longest wait for the wanted number to be told back after the platform
            said yes; part of the limit.
        pause_seconds: time between two questions meanwhile.
    """

    limit_seconds: float = 10.0
    told_back_seconds: float = 3.0
    pause_seconds: float = 0.1

    def __post_init__(self) -> None:
        """Refuse times that cannot be.

        Raises:
            ValueError: naming the setting.
        """
        if not self.limit_seconds > 0:
            raise ValueError("limit_seconds must be above 0")
        if not 0 <= self.told_back_seconds <= self.limit_seconds:
            raise ValueError("told_back_seconds must be from 0 to limit_seconds")
        if not self.pause_seconds > 0:
            raise ValueError("pause_seconds must be above 0")


class Careful:
    """An actuator: a platform, acted upon so that the contract of `base` holds.

    Args:
        platform: what is talked to.
        clock: the time.
        patience: how long is waited.
    """

    def __init__(self, platform: Platform, clock: Clock, patience: Patience | None = None) -> None:
        self.platform = platform
        self._clock = clock
        self._patience = patience or Patience()
        self._applied: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    @property
    def name(self) -> str:
        """Of the platform."""
        return self.platform.name

    @property
    def limit_seconds(self) -> float:
        """A call takes no longer than this."""
        return self._patience.limit_seconds

    async def read(self, pool: str) -> Scale:
        """How the pool stands.

        Raises:
            ControllerError: the platform cannot be read, or knows no such pool.
        """
        if pool not in self.platform.pools:
            raise ControllerError(f"unknown pool '{pool}'", where=self.name, hint=self._known())
        try:
            async with asyncio.timeout(self.limit_seconds):
                return await self.platform.read(pool)
        except PlatformAnswer as answer:
            raise ControllerError(
                f"the scale of '{pool}' cannot be read: {answer.text}", where=self.name
            ) from answer
        except TimeoutError:
            raise ControllerError(
                f"the scale of '{pool}' cannot be read: no answer in {self.limit_seconds:g} s",
                where=self.name,
            ) from None

    async def apply(self, pool: str, replicas: int, decision_id: str, version: str = "") -> Applied:
        """Ask for so many replicas; again with the same decision changes nothing."""
        wrong = self._wrong(pool, replicas, decision_id)
        if wrong:
            return Applied("refused", wrong)
        try:
            async with (
                asyncio.timeout(self.limit_seconds),
                self._locks.setdefault(pool, asyncio.Lock()),
            ):
                return await self._apply(pool, replicas, decision_id, version)
        except TimeoutError:
            return Applied(
                "failed",
                f"no answer in {self.limit_seconds:g} s: whether it was done is not known",
            )
        except PlatformAnswer as answer:
            return Applied(_outcome(answer), answer.text)

    async def aclose(self) -> None:
        """Let go of what it holds; replicas go on. Safe twice."""
        await self.platform.aclose()

    def _wrong(self, pool: str, replicas: int, decision_id: str) -> str:
        if pool not in self.platform.pools:
            return f"unknown pool '{pool}'; {self._known()}"
        if isinstance(replicas, bool) or not isinstance(replicas, int):
            return f"{replicas!r} is no number of replicas"
        if not 0 <= replicas <= MOST_REPLICAS:
            return f"{replicas} replicas: must be from 0 to {MOST_REPLICAS}"
        if not decision_id:
            return "a decision without an id cannot be applied once only"
        before = self._applied.get((pool, decision_id))
        if before is not None and before != replicas:
            return f"decision {decision_id} asked for {before} of '{pool}' before"
        return ""

    def _known(self) -> str:
        return f"it has: {', '.join(self.platform.pools) or 'none'}"

    async def _apply(self, pool: str, replicas: int, decision_id: str, version: str) -> Applied:
        for attempt in range(1, _WRITES + 1):
            seen = await self.platform.read(pool)
            settled = self._settled(seen, replicas, decision_id, version)
            if settled is not None:
                return settled
            try:
                said = await self.platform.write(pool, replicas, seen, decision_id)
            except Conflicted:
                if attempt == _WRITES:
                    raise
                version = version or seen.version  # what we saw must still be so
                continue
            return await self._told_back(pool, replicas, decision_id, seen, said)
        raise AssertionError  # the last attempt returns or raises

    def _settled(
        self, seen: Scale, replicas: int, decision_id: str, version: str
    ) -> Applied | None:
        """The outcome where nothing is to be written."""
        if (seen.pool, decision_id) in self._applied or _kept(seen) == (decision_id, replicas):
            return Applied("unchanged", f"decision {decision_id} was applied before", seen)
        if version and seen.version and seen.version != version:
            now = "an unknown number" if seen.wanted is None else str(seen.wanted)
            return Applied(
                "conflict", f"somebody else changed '{seen.pool}' meanwhile: it wants {now}", seen
            )
        if seen.wanted == replicas:
            self._remember(decision_id, seen.pool, replicas)
            return Applied("unchanged", f"'{seen.pool}' has {replicas} already", seen)
        return None

    async def _told_back(
        self, pool: str, replicas: int, decision_id: str, before: Scale, said: str
    ) -> Applied:
        """Believe only what the platform tells when asked again."""
        until = self._clock.monotonic() + self._patience.told_back_seconds
        while True:
            now = await self.platform.read(pool)
            if now.wanted == replicas:
                self._remember(decision_id, pool, replicas)
                was = "unknown" if before.wanted is None else str(before.wanted)
                text = f"'{pool}' goes from {was} to {replicas}" + (f"; {said}" if said else "")
                return Applied("applied", text, now, _details(before, now))
            if self._clock.monotonic() >= until:
                break
            await self._clock.sleep(self._patience.pause_seconds)
        told = "cannot tell" if now.wanted is None else f"tells {now.wanted}"
        text = f"the platform took {replicas} for '{pool}', but {told} when asked again"
        return Applied("failed", text, now, _details(before, now))

    def _remember(self, decision_id: str, pool: str, replicas: int) -> None:
        self._applied[(pool, decision_id)] = replicas
        while len(self._applied) > MOST_DECISIONS:
            self._applied.popitem(last=False)


def _kept(seen: Scale) -> tuple[str, int | None]:
    """The decision that the platform remembers, with its number."""
    told = seen.decision_replicas
    return seen.decision_id, seen.wanted if told is None else told


def _outcome(answer: PlatformAnswer) -> Outcome:
    kinds: Mapping[type[PlatformAnswer], Outcome] = {
        Refused: "refused",
        Conflicted: "conflict",
        NoAnswer: "failed",
    }
    return kinds.get(type(answer), "failed")


def _details(before: Scale, now: Scale) -> dict[str, str]:
    told = {"version_before": before.version, "version": now.version}
    return {name: value for name, value in told.items() if value}
