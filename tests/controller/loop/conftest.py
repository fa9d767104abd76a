"""A control loop over a platform and a store in memory, and a clock that moves when told to."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from controller import observation as seen
from controller.actuators.base import Applied, Scale
from controller.book import Book
from controller.hands import Hands
from controller.leases.file import FileLeases
from controller.loop import Loop
from controller.observation import Limits, Objective, Observation, PoolView, Reading
from controller.observe import Seen
from controller.policy import PolicySpec, Proposal, Reason
from controller.pools import Pool, fleets_of
from controller.settings import ControllerSettings
from controller.shadows import Shadows
from store import replays
from store.clock import VirtualClock
from store.database import Database
from store.errors import ControllerError
from store.queries import candidates
from store.settings import StoreSettings

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@dataclass
class MemoryActuator:
    """Keeps a number.

    Args:
        wanted: replicas by pool.
        ready: told as ready; None tells what is wanted.
        fault: "" works; "hang" never answers, "lie" says applied and does nothing, "refuse",
            "fail", "raise", "unreadable" cannot be read, "half" applies and does not answer.
        scaled: called with pool and replicas when a target changes.
    """

    wanted: dict[str, int] = field(default_factory=dict)
    ready: Callable[[str], int] | None = None
    fault: str = ""
    scaled: Callable[[str, int], None] | None = None
    calls: list[tuple[str, int, str]] = field(default_factory=list)
    changes: list[tuple[str, int, str]] = field(default_factory=list)
    _versions: dict[str, int] = field(default_factory=dict)
    _decisions: dict[str, str] = field(default_factory=dict)

    limit_seconds = 10.0

    @property
    def name(self) -> str:
        """For records."""
        return "memory"

    async def read(self, pool: str) -> Scale:
        """How the pool stands."""
        if self.fault == "unreadable":
            raise ControllerError("the platform cannot be read")
        wanted = self.wanted.get(pool, 0)
        ready = wanted if self.ready is None else self.ready(pool)
        version = str(self._versions.get(pool, 0))
        return Scale(pool, wanted, ready, version, self._decisions.get(pool, ""))

    async def apply(self, pool: str, replicas: int, decision_id: str, version: str = "") -> Applied:
        """Keep the number, unless a fault is set."""
        self.calls.append((pool, replicas, decision_id))
        if self.fault == "raise":
            raise RuntimeError("the client broke")
        if self.fault == "hang":
            await asyncio.Event().wait()
        if self.fault in ("refuse", "fail"):
            return Applied("refused" if self.fault == "refuse" else "failed", "as told to")
        if self.fault == "lie":
            return Applied("applied", "all is well")
        if version and version != str(self._versions.get(pool, 0)):
            return Applied("conflict", "somebody else changed it", await self.read(pool))
        if self._decisions.get(pool) == decision_id and self.wanted.get(pool) == replicas:
            return Applied("unchanged", "this decision was applied before", await self.read(pool))
        self._set(pool, replicas, decision_id)
        if self.fault == "half":
            await asyncio.Event().wait()
        return Applied("applied", f"{replicas} replicas", await self.read(pool))

    async def aclose(self) -> None:
        """Nothing is held."""

    def meddle(self, pool: str, replicas: int) -> None:
        """Somebody else changes it."""
        self._set(pool, replicas, "")

    def _set(self, pool: str, replicas: int, decision_id: str) -> None:
        self.wanted[pool] = replicas
        self._decisions[pool] = decision_id
        self._versions[pool] = self._versions.get(pool, 0) + 1
        self.changes.append((pool, replicas, decision_id))
        if self.scaled is not None:
            self.scaled(pool, replicas)


@dataclass
class Wish:
    """Wants what it is told to; remembers how often it was asked."""

    want: object = None
    spec: PolicySpec = field(default=PolicySpec("wish", "Wish", 15.0, "test"))

    def decide(self, observation, memory):
        want = self.want(observation) if callable(self.want) else self.want
        if isinstance(want, Proposal):
            return want, {}
        count = memory.get("count", 0) + 1
        if want is None:
            want = {pool.name: pool.target for pool in observation.pools}
        reasons = tuple(Reason(name, "wish", f"wants {n}", {"n": n}) for name, n in want.items())
        return Proposal(want, reasons), {"count": count}


@dataclass
class FakeEyes:
    """Sees the platform's numbers and a given load."""

    clock: object
    rate: float | None = 5.0
    change: object = None

    def observe(self, fleet, scales, *, is_first=False):
        if isinstance(self.rate, Exception):
            raise self.rate
        pools = []
        for pool in fleet.pools:
            scale = scales.get(pool.name)
            wanted = 0 if scale is None or scale.wanted is None else scale.wanted
            signals = {}
            if self.rate is not None:
                signals = {
                    seen.REQUESTS_PER_SECOND: Reading(self.rate),
                    seen.REQUESTS_RUNNING: Reading(self.rate * 2),
                    seen.REQUESTS_WAITING: Reading(0.0),
                }
            view = PoolView(
                pool.name, wanted, wanted, 0, 0, Limits(0, 100), signals, profile=pool.profile
            )
            pools.append(self.change(view) if self.change else view)
        return Seen(Observation(self.clock.now().timestamp(), tuple(pools), fleet.objective))


class World:
    """Everything a loop needs, and the loop."""

    def __init__(self, database, clock, policy=None, leases=None, **table):
        pools = table.pop("pools", ("a",))
        own = {
            name: table.pop(name)
            for name in list(table)
            if name in ("mode", "most_gpus", "most_per_hour", "settle_seconds", "approve_seconds",
                        "rehearse_hours", "snapshot_steps", "policy_limit_seconds",
                        "actuator_limit_seconds", "most_shadows")
        }  # fmt: skip
        tables = tuple({"name": name, "match": {"model": name}, **table} for name in pools)
        self.settings = ControllerSettings(pool=tables, **{"mode": "active", **own})
        self.policy = policy or Wish()
        made = [Pool(one, Objective(), None) for one in self.settings.pools()]
        self.fleets = fleets_of(made, dict.fromkeys(pools, self.policy), self.settings)
        self.database, self.clock = database, clock
        self.actuator = MemoryActuator(dict.fromkeys(pools, 4))
        self.eyes = FakeEyes(clock)
        self.names = tuple(pools)
        self.leases = leases or FileLeases(None, "test")
        self.making = None
        self.restart()

    def restart(self):
        """A new process: what was only remembered is gone."""
        self.book = Book(self.database, self.clock, self.names, self.settings.mode)
        actuators = dict.fromkeys(self.names, self.actuator)
        self.hands = Hands(actuators, self.book, self.leases, self.settings.actuator_limit_seconds)
        shadows = None
        if self.making is not None:
            shadows = Shadows(self.book, self.making, self.settings, self.eyes)
        self.loop = Loop(
            self.fleets, self.eyes, self.hands, self.book, self.leases, self.settings, self.clock,
            shadows=shadows,
        )  # fmt: skip
        self.loop.load()

    def watching(self, *policies):
        """Candidates can be made of these policies: a new process knows them."""
        made = {policy.spec.name: policy for policy in policies}

        def making(name, parameters):
            if name not in made:
                raise ControllerError(f"there is no policy '{name}'", hint="see the list")
            return replace(made[name], **parameters)

        self.making = making
        self.restart()
        return self

    def propose(self, policy="other", pool="a", replay=None, **parameters):
        """What the page does with a row of a replay; gives the candidate's number."""
        wanted = replays.Candidate(pool, policy, parameters, replay, "ana")
        return replays.propose(self.database.writer, self.clock.now(), wanted).result()

    async def watch(self, count=1, seconds=15.0):
        """Steps, with those of the candidates after each."""
        for _ in range(count):
            for fleet in self.fleets:
                await self.loop.tick(fleet)
            await self.loop.shadows.settled()
            self.clock.advance(seconds)

    def candidate(self, number):
        return candidates.listed(self.database.reader, number).to_dicts()[0]

    def shadow_rows(self, number=1):
        return candidates.course(self.database.reader, number).to_dicts()

    async def tick(self, seconds=15.0):
        for fleet in self.fleets:
            await self.loop.tick(fleet)
        self.clock.advance(seconds)

    async def ticks(self, count, seconds=15.0):
        for _ in range(count):
            await self.tick(seconds)

    def rows(self, table, order="decision_id"):
        return self.database.reader.frame(f"SELECT * FROM {table} ORDER BY {order}").to_dicts()

    def last(self, pool="a"):
        return [row for row in self.rows("decision") if row["pool"] == pool][-1]


@pytest.fixture
def clock():
    return VirtualClock(START)


@pytest.fixture
def database(clock):
    with Database.open(None, StoreSettings(), clock) as opened:
        yield opened


@pytest.fixture
def other_database(clock):
    with Database.open(None, StoreSettings(), clock) as opened:
        yield opened


@pytest.fixture
def world(database, clock):
    """Makes worlds over one store and one clock."""

    def make(policy=None, **settings):
        settings.setdefault("most_down", 10)
        settings.setdefault("most", 50)
        settings.setdefault("down_cooldown_seconds", 0)
        return World(database, clock, policy, **settings)

    return make


@pytest.fixture
def wish():
    """Makes policies that want what they are told to."""
    return Wish
