"""Reading platforms and acting on them: with limits, never twice, never believed unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from controller.actuators.base import Actuator, Applied, Scale
from controller.actuators.desired_gauge import DesiredGauge
from controller.book import Book, Open
from controller.leases import Leases
from controller.modes import ACTING
from store.decisions import ActionRow
from store.errors import ServescopeError

MOST_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Read:
    """What the platforms told.

    Attributes:
        scales: by pool; those that could not be read are absent.
        problems: why not, by pool.
    """

    scales: Mapping[str, Scale]
    problems: Mapping[str, str]


class Hands:
    """Belongs to one event loop.

    Args:
        actuators: by pool.
        book: what was done.
        leases: which pools are ours.
        limit_seconds: a platform that takes longer has not answered.
    """

    def __init__(
        self,
        actuators: Mapping[str, Actuator],
        book: Book,
        leases: Leases,
        limit_seconds: float,
    ) -> None:
        self._actuators, self._book = actuators, book
        self._leases, self._limit = leases, limit_seconds
        self._locks: dict[str, asyncio.Lock] = {}

    def name(self, pool: str) -> str:
        """Of a pool's actuator."""
        return self._actuators[pool].name

    async def read(self, pools: Sequence[str]) -> Read:
        """How the platforms stand."""
        told = await asyncio.gather(*(self._read(pool) for pool in pools))
        scales, problems = {}, {}
        for pool, found in zip(pools, told, strict=True):
            if isinstance(found, str):
                problems[pool] = found
            else:
                scales[pool] = self._completed(pool, found)
        return Read(scales, problems)

    def _completed(self, pool: str, scale: Scale) -> Scale:
        """A platform that cannot tell what it was told has what it was told by us."""
        if scale.wanted is not None:
            return scale
        return replace(scale, wanted=self._book.states[pool].baseline)

    async def _read(self, pool: str) -> Scale | str:
        actuator = self._actuators[pool]
        try:
            scale = await asyncio.wait_for(actuator.read(pool), self._limit)
        except TimeoutError:
            return f"{actuator.name} did not answer within {self._limit:g} s"
        except ServescopeError as error:
            return f"{actuator.name}: {error.message}"
        except Exception as error:  # noqa: BLE001 - an actuator may do anything; the pool is held
            return f"{actuator.name}: {type(error).__name__}: {error}"
        for number in (scale.wanted, scale.ready):
            if number is not None and number < 0:
                return f"{actuator.name} tells of {number} replicas"
        return scale

    async def settle(self, pool: str, scale: Scale) -> None:
        """Find out what became of an open decision, and whether somebody else changed the pool."""
        state, tried = self._book.states[pool], self._book.open.get(pool)
        if state.mode not in ACTING:
            self._book.open.pop(pool, None)
            return
        if tried is not None and await self._settled(pool, tried, scale):
            return
        state = self._book.states[pool]
        if scale.wanted is None or state.foreign is not None:
            return
        if state.baseline is None:
            self._book.states[pool] = replace(
                state, baseline=scale.wanted, baseline_at=self._book.now()
            )
        elif scale.wanted != state.baseline:
            text = f"it was {state.baseline}"
            row = self._book.row(
                pool, "foreign", self.name(pool), replicas=scale.wanted, comment=text
            )
            await self._book.change([row])

    async def _settled(self, pool: str, tried: Open, scale: Scale) -> bool:
        """Whether an open decision turns out to be done (or is given up)."""
        is_ours = scale.decision_id == str(tried.decision_id) or tried.is_from_before
        if scale.wanted == tried.replicas and (is_ours or tried.attempts):
            text = "it is so: found when the platform was read again"
            await self._note(pool, tried, "applied", text, scale)
            self._book.done(pool, tried.replicas, has_changed=True)
            return True
        if tried.is_from_before:
            text = "it was not done before the restart; it is decided anew"
            await self._note(pool, tried, "abandoned", text, scale)
            self._book.open.pop(pool, None)
        return False

    async def act(self, pool: str, decision_id: int, replicas: int, scale: Scale) -> Applied:
        """Do a decision; again with the same one where it failed before.

        Args:
            pool: whose.
            decision_id: of the decision that was written down.
            replicas: wanted.
            scale: as it was decided upon.
        """
        async with self._locks.setdefault(pool, asyncio.Lock()):
            tried = self._book.open.get(pool)
            if tried is None or tried.decision_id != decision_id:
                tried = Open(decision_id, replicas, scale.wanted, 0, self._book.now())
            began = self._book.clock.monotonic()
            applied = await self._applied(pool, tried, scale.version)
            await self._book_in(pool, tried, applied)
            seconds = self._book.clock.monotonic() - began
            told = (applied.outcome, applied.text, applied.scale)
            await self._note(pool, tried, *told, seconds=seconds)
            if applied.outcome == "applied":
                text = f"{pool}: {tried.before} -> {replicas} replicas (decision {decision_id})"
                self._book.tell(f"scale:{pool}:{decision_id}", "scale", pool, text)
            return applied

    async def _book_in(self, pool: str, tried: Open, applied: Applied) -> None:
        if applied.outcome in ("applied", "unchanged"):
            tried.attempts += 1
            self._book.done(pool, tried.replicas, has_changed=applied.outcome == "applied")
        elif applied.outcome == "conflict":
            # Somebody was faster: what is there now is read at the next step.
            tried.attempts += 1
            self._book.open.pop(pool, None)
        else:
            self._book.failed(pool, tried, applied.text)
            if tried.attempts >= MOST_ATTEMPTS:
                self._book.open.pop(pool, None)

    async def _applied(self, pool: str, tried: Open, version: str) -> Applied:
        # Twice the limit: the platform is asked, and then looked at.
        seconds = 2 * self._limit
        if not await self._leases.confirm(pool, tried.decision_id, seconds):
            return Applied("refused", f"the lease is held by {self._leases.owner(pool)}")
        actuator = self._actuators[pool]
        # After a failed attempt the version may be that of our own change.
        compared = "" if tried.attempts else version
        try:
            applied = await asyncio.wait_for(
                actuator.apply(pool, tried.replicas, str(tried.decision_id), compared), self._limit
            )
        except TimeoutError:
            return Applied("failed", f"no answer within {self._limit:g} s")
        except Exception as error:  # noqa: BLE001 - an actuator may do anything; it is recorded
            return Applied("failed", f"{type(error).__name__}: {error}"[:500])
        if applied.outcome in ("applied", "unchanged"):
            return await self._believed(pool, tried, applied)
        return applied

    async def _believed(self, pool: str, tried: Open, applied: Applied) -> Applied:
        """What it says, compared with what is there."""
        scale = await self._read(pool)
        if isinstance(scale, str):
            return replace(applied, text=f"{applied.text}; it could not be read again: {scale}")
        if scale.wanted is not None and scale.wanted != tried.replicas:
            text = f"it says {applied.outcome}, but {scale.wanted} replicas are wanted there"
            return Applied("failed", text, scale)
        return replace(applied, scale=scale)

    async def _note(
        self,
        pool: str,
        tried: Open,
        outcome: str,
        text: str,
        scale: Scale | None,
        *,
        seconds: float | None = None,
    ) -> None:
        """Write down an attempt, or (without seconds) what was found out about one."""
        attempt = max(tried.attempts, 1) if seconds is not None else tried.attempts + 1
        await self._book.keep(
            [
                ActionRow(
                    tried.decision_id, attempt, self._book.now(), pool, self.name(pool),
                    tried.replicas, outcome, text, seconds, scale.version if scale else "",
                )
            ]
        )  # fmt: skip

    def asked(self) -> dict[str, int]:
        """What was last asked for, of pools that may be acted upon; absent before a decision."""
        return {
            pool: state.baseline
            for pool, state in self._book.states.items()
            if state.mode in ACTING and state.baseline is not None
        }

    def labels(self, pool: str) -> dict[str, str]:
        """Of a pool's point of the gauge: those that its actuator publishes, where it does."""
        platform = getattr(self._actuators[pool], "platform", None)
        if isinstance(platform, DesiredGauge):
            return platform.labels(pool)
        return {"pool": pool}

    async def aclose(self) -> None:
        """Let go of the platforms; replicas go on."""
        for actuator in {id(one): one for one in self._actuators.values()}.values():
            await actuator.aclose()
