"""Faults of what is seen, of platforms and of controllers: nothing is scaled down that is needed.

A simulated fleet is scraped into a store as a real one is, and the loop that runs live decides
about it with a policy that takes whatever it does not know for zero: the guards stand alone.
"""

import math
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from controller import ledger
from controller import observation as seen
from controller.actuators.base import Applied, Scale
from controller.book import Book
from controller.hands import Hands
from controller.leases.file import FileLeases
from controller.loop import Loop
from controller.observation import Grade, Objective
from controller.observe import StoreEyes
from controller.policy import PolicySpec, Proposal, Reason
from controller.pools import Pool, fleets_of
from controller.profile import Profile, StepTimes
from controller.settings import ControllerSettings
from controller.simulator.fleet import FleetModel, PoolPlan
from controller.simulator.state import DONE, STARTING
from controller.simulator.workload import Workload
from controller.startup import StartupTimes
from store import targets

SCRAPE = TICK = 15.0
PER_REPLICA = 1.25
STEP = StepTimes(0.02, 0.0001, 0.0, 0.002)
PROFILE = Profile("test", STEP, sequences=32, cache_tokens=100_000)


@dataclass
class Naive:
    """Requests a second over what a replica serves; what is not known is zero."""

    spec: PolicySpec = field(default=PolicySpec("naive", "Naive", TICK, "test"))

    def decide(self, observation, memory):
        targets = {}
        for pool in observation.pools:
            reading = pool.reading(seen.REQUESTS_PER_SECOND)
            is_known = reading.grade in (Grade.FRESH, Grade.PARTIAL)
            rate = reading.value if is_known else 0.0
            targets[pool.name] = math.ceil((rate or 0.0) / PER_REPLICA)
        return Proposal(targets, tuple(Reason(n, "rate", "rate") for n in targets)), {}


class SimulatedPlatform:
    """Starts and drains replicas of the simulated fleet."""

    name, limit_seconds = "simulated", 1.0

    def __init__(self, fleet, wanted):
        self.fleet, self.wanted, self.fault, self.changes = fleet, wanted, "", []

    async def read(self, pool):
        ready, starting, draining = self.fleet.counts(pool)
        return Scale(pool, self.wanted, ready, "", "", starting, draining)

    async def apply(self, pool, replicas, decision_id, version=""):
        if self.fault:
            raise TimeoutError
        self.changes.append((self.fleet.now, self.wanted, replicas))
        self.wanted = replicas
        self.fleet.scale(pool, replicas)
        return Applied("applied", "done", await self.read(pool))

    async def aclose(self):
        pass


class Rig:
    """A simulated fleet, scraped into a store, and a loop over it."""

    def __init__(self, database, clock, rate, seconds=1500.0, replicas=12):
        random = np.random.default_rng(1)
        n = int(rate * seconds)
        work = Workload.of(
            (np.arange(n) + 0.5) / rate, random.integers(20, 60, n),
            random.integers(20, 60, n),
        )  # fmt: skip
        plan = PoolPlan("a", PROFILE, 40, StartupTimes.about(30.0))
        self.fleet = FleetModel(work, [plan], 1)
        self.fleet.scale("a", replicas, at_once=True)
        self.database, self.clock, self.start = database, clock, clock.now()
        table = {
            "name": "a", "match": {"model": "m"}, "least": 1, "most": 40, "most_down": 40,
            "down_cooldown_seconds": 0,
        }  # fmt: skip
        self.settings = ControllerSettings(pool=(table,), mode="active", window_seconds=30)
        pool = Pool(self.settings.pools()[0], Objective(), None)
        self.fleets = fleets_of([pool], {"a": Naive()}, self.settings)
        self.platform = SimulatedPlatform(self.fleet, replicas)
        self.known, self.told_done, self.before = {}, 0, {}
        self.change = lambda name, values, birth: values
        self.shift = 0.0
        self.controller()

    def controller(self, leases=None):
        """A new process."""
        self.leases = leases or FileLeases(None, "test")
        self.book = Book(self.database, self.clock, ("a",), "active")
        self.hands = Hands({"a": self.platform}, self.book, self.leases, 1.0)
        eyes = StoreEyes(self.database.reader, self.clock, 30.0, 0.0, SCRAPE)
        self.loop = Loop(
            self.fleets, eyes, self.hands, self.book, self.leases, self.settings, self.clock
        )
        self.loop.load()

    async def run(self, ticks):
        for _ in range(ticks):
            self.clock.advance(TICK)
            self.fleet.run_until((self.clock.now() - self.start).total_seconds())
            self.scrape()
            for fleet in self.fleets:
                await self.loop.tick_safely(fleet)

    def scrape(self):
        world = self.fleet.world
        rows, scrapes, alive = [], [], set()
        at = self.clock.now().replace(tzinfo=None)
        for slot in np.flatnonzero(world.replicas["pool"] == 0).tolist():
            if world.replicas["state"][slot] == STARTING:
                continue
            birth = self.fleet.birth(slot)
            alive.add(birth)
            target = self.target(birth)
            values = {
                "requests_running": float(world.replicas["running"][slot]),
                "requests_waiting": float(world.replicas["waiting"][slot]),
                "requests_finished_total": float(world.replicas["done_total"][slot]),
                "generation_tokens_total": float(world.replicas["output_total"][slot]),
            }
            told = self.change("scrape", values, birth)
            scrapes.append((target, at, 0.01, "ok" if told else "timeout"))
            moved = at + timedelta(seconds=self.shift)
            for signal, value in (told or {}).items():
                kind = "counter" if signal.endswith("_total") else "gauge"
                rows.append((target, signal, kind, "requests", "{}", moved, value))
        self.gone(alive)
        self.keep("sample", rows, "target_id signal kind unit labels sampled_at value")
        self.keep("scrape", scrapes, "target_id scraped_at duration_seconds outcome")
        self.requests()

    def keep(self, table, rows, names):
        if rows:
            frame = pl.DataFrame(rows, schema=names.split(), orient="row")
            self.database.writer.append(table, frame).result()

    def target(self, birth):
        if birth not in self.known:
            url = f"http://r{birth}:8000/metrics"
            note = {url: targets.Noted(self.clock.now(), "vllm", "m")}
            self.known[birth] = targets.note(self.database.writer, note).result()[url]
        return self.known[birth]

    def gone(self, alive):
        for birth in [one for one in self.known if one not in alive]:
            url = f"http://r{birth}:8000/metrics"
            targets.remove(self.database.writer, url, self.clock.now()).result()
            del self.known[birth]

    def requests(self):
        world = self.fleet.world
        count = int(world.course["done_count"][0])
        who = world.done[self.told_done : count]
        self.told_done = count
        who = who[world.requests["status"][who] == DONE]
        zero = self.start.replace(tzinfo=None)
        rows = [
            (1, f"r{i}", zero + timedelta(seconds=float(world.requests["arrived"][i])), "ok", "m",
             float(world.requests["end"][i] - world.requests["arrived"][i]))
            for i in who.tolist()
        ]  # fmt: skip
        self.keep("request", rows, "source_id request_id arrived_at status model e2e_seconds")

    def downs(self, since):
        return [change for change in self.platform.changes[since:] if change[2] < change[1]]


@pytest.fixture
def rig(database, clock):
    def make(rate=12.0, **more):
        return Rig(database, clock, rate, **more)

    return make


def nothing(name, values, birth):
    """Nobody answers."""


def a_third_missing(name, values, birth):
    return None if birth % 3 == 0 else values


def no_numbers(name, values, birth):
    return dict.fromkeys(values, math.nan)


def zeros(name, values, birth):
    return dict.fromkeys(values, 0.0)


class Frozen:
    """The same page again and again."""

    def __init__(self):
        self.pages = {}

    def __call__(self, name, values, birth):
        return self.pages.setdefault(birth, values)


class FrozenThird(Frozen):
    """A third of the replicas shows the same page."""

    def __call__(self, name, values, birth):
        return super().__call__(name, values, birth) if birth % 3 == 0 else values


FAULTS = {
    "total scrape outage": nothing,
    "30 % of targets missing": a_third_missing,
    "frozen": Frozen(),
    "a third frozen": FrozenThird(),
    "not a number": no_numbers,
    "zero with live traffic": zeros,
}


async def steady(rig):
    """Runs long enough to know the load, and to be at rest."""
    await rig.run(8)
    assert rig.loop.counts.failures == {}
    assert 9 <= rig.platform.wanted <= 12
    return len(rig.platform.changes)


@pytest.mark.parametrize("fault", list(FAULTS))
async def test_nothing_is_scaled_down_on_what_is_not_known(rig, fault):
    """From the first step of the fault on, and until it is over."""
    r = rig()
    since = await steady(r)
    r.change = FAULTS[fault]
    await r.run(8)
    assert r.downs(since) == []
    rows = r.database.reader.frame("SELECT * FROM decision ORDER BY decision_id").to_dicts()
    assert all(row["kind"] == "hold" for row in rows[-8:])
    assert r.loop.doubt("a")
    r.change = lambda name, values, birth: values
    await r.run(3)
    assert r.platform.wanted >= 9
    found = ledger.verified(r.database.reader, lambda name, parameters: Naive(), 100)
    assert {one.verdict for one in found} == {"same"}


@pytest.mark.parametrize("shift", [600.0, -600.0])
async def test_a_skewed_clock_scales_nothing_down(rig, shift):
    """Points from the future, or from long ago."""
    r = rig()
    since = await steady(r)
    r.shift = shift
    await r.run(6)
    assert r.downs(since) == []


async def test_a_platform_that_does_not_answer_is_not_asked_for_more_and_more(rig):
    """One decision, tried again; the fleet is as it was."""
    r = rig(rate=6.0)
    r.platform.fault = "timeout"
    await r.run(12)
    assert r.platform.changes == []
    assert r.platform.wanted == 12
    r.platform.fault = ""
    await r.run(14)
    assert r.platform.wanted < 12


async def test_a_restart_scales_nothing_down(rig):
    """A new process knows nothing of the load at first, and waits until it does."""
    r = rig()
    since = await steady(r)
    for _ in range(4):
        r.controller()
        await r.run(2)
    assert r.downs(since) == []


async def test_of_two_controllers_one_acts(rig, tmp_path, other_database):
    """The other one watches; when the first ends it takes over without a jump."""
    r = rig()
    r.controller(FileLeases(tmp_path, "one"))
    since = await steady(r)
    first = r.loop
    mine = r.database
    r.controller(FileLeases(tmp_path, "two"))
    second = r.loop
    # Two controllers have a store each; what they see is the same.
    second.book.database = other_database
    second.load()
    for _ in range(6):
        await r.run(1)
        await first.tick_safely(r.fleets[0])
    assert mine is not other_database
    assert second.counts.actions == {}
    await first.aclose()
    await r.run(4)
    assert r.downs(since) == []
    assert r.loop is second


async def test_the_load_is_followed_when_all_is_well(rig):
    """The guards do not stand in the way: down when the load is gone."""
    r = rig(rate=3.0)
    await r.run(20)
    assert r.platform.wanted <= 5
