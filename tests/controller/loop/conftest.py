"""A control loop over a platform and a store in memory, and a clock that moves when told to."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from controller import observation as seen
from controller.actuators.memory import MemoryActuator
from controller.book import Book
from controller.hands import Hands
from controller.lease import Leases
from controller.loop import Loop
from controller.observation import Limits, Objective, Observation, PoolView, Reading
from controller.observe import Seen
from controller.policy import PolicySpec, Proposal, Reason
from controller.pools import Pool, fleets_of
from controller.settings import ControllerSettings
from store.clock import VirtualClock
from store.database import Database
from store.settings import StoreSettings

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


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

    def observe(self, fleet, scales):
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
                        "actuator_limit_seconds")
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
        self.leases = leases or Leases(None, "test")
        self.restart()

    def restart(self):
        """A new process: what was only remembered is gone."""
        self.book = Book(self.database, self.clock, self.names, self.settings.mode)
        actuators = dict.fromkeys(self.names, self.actuator)
        self.hands = Hands(actuators, self.book, self.leases, self.settings.actuator_limit_seconds)
        self.loop = Loop(
            self.fleets, self.eyes, self.hands, self.book, self.leases, self.settings, self.clock
        )
        self.loop.load()

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
