"""Every stored decision, of every policy, made again comes out the same to the byte."""

import json
from dataclasses import replace

import numpy as np
import pytest

from controller import ledger
from controller import observation as seen
from controller.cases import LLAMA_70B
from controller.codec import Given, given_bytes, given_of, sanitised
from controller.explain import explained
from controller.guards import FleetRules, Standing
from controller.observation import ForecastView, Grade, Reading, ReplicaView
from controller.policies.registry import POLICIES, catalogue, make
from controller.startup import StartupTimes

LIVE = [spec.name for spec in catalogue() if not spec.needs_future]


class Weather:
    """Loads that come and go, with holes, wrong numbers and forecasts."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)

    def __call__(self, view):
        random, rate = self.random, float(self.random.gamma(4, 3))
        values = {
            seen.REQUESTS_PER_SECOND: rate,
            seen.REQUESTS_RUNNING: rate * 4,
            seen.REQUESTS_WAITING: float(random.poisson(rate)),
            seen.INPUT_TOKENS: 900.0,
            seen.OUTPUT_TOKENS: 200.0,
            seen.INPUT_TOKENS_PER_SECOND: rate * 900,
            seen.OUTPUT_TOKENS_PER_SECOND: rate * 200,
            seen.KV_CACHE_USAGE_RATIO: float(random.uniform()),
            seen.TTFT_P95_SECONDS: float(random.uniform(0, 4)),
            seen.TPOT_P95_SECONDS: float(random.uniform(0, 0.2)),
        }
        signals = {name: self.read(value) for name, value in values.items()}
        replicas = tuple(
            ReplicaView(f"r{n}", "ready", 900.0, 1.0, rate, float(n), 0.1 * n)
            for n in range(view.ready)
        )
        forecast = ForecastView(
            seen.REQUESTS_PER_SECOND, 600.0, (0.1, 0.5, 0.9), (rate, rate * 1.2, rate * 2)
        )
        return replace(
            view, signals=signals, replicas=replicas, forecasts=(forecast,), profile=LLAMA_70B,
            startup=StartupTimes.about(60),
        )  # fmt: skip

    def read(self, value):
        dice = self.random.uniform()
        if dice < 0.05:
            return Reading(float("nan"))
        if dice < 0.1:
            return Reading.missing()
        if dice < 0.2:
            return Reading(value, Grade.STALE, 90.0, 0.5)
        return Reading(value, Grade.FRESH, float(self.random.uniform(0, 10)))


@pytest.mark.parametrize("name", LIVE)
async def test_every_decision_of_every_policy_comes_out_the_same(world, name):
    """From the record alone, with the policy made anew by its name and parameters."""
    w = world(make(name), snapshot_steps=7)
    w.eyes.change = Weather(3)
    await w.ticks(16)
    assert w.loop.counts.failures == {}
    found = list(ledger.verified(w.database.reader, lambda n, p: make(n, **p), 100))
    assert [one.verdict for one in found] == ["same"] * 16
    rows = w.rows("decision")
    assert {row["code"] for row in rows} != {"policy_failed"}
    w.restart()
    await w.ticks(4)
    found = list(ledger.verified(w.database.reader, lambda n, p: make(n, **p), 100))
    assert [one.verdict for one in found] == ["same"] * 20


async def test_what_would_flip_a_decision_does(world):
    """Set to the value that is told, the same step decides otherwise."""
    w = world(make("kubernetes-hpa"), mode="dry-run")
    w.eyes.change = Weather(5)
    await w.ticks(6)
    told = explained(w.database.reader, 6, lambda n, p: make(n, **p), 300.0, lambda: True)
    assert told["replays"]
    assert told["flips"]
    for flip in told["flips"]:
        assert flip["kind"] != told["decision"]["kind"]
        assert flip["text"].startswith("would ")


async def test_a_search_without_time_says_what_it_has(world):
    """Nothing hangs on it."""
    w = world(make("kubernetes-hpa"), mode="dry-run")
    await w.ticks(2)
    told = explained(w.database.reader, 2, lambda n, p: make(n, **p), 300.0, lambda: False)
    assert told["flips"] == []
    assert told["replays"]


def test_what_is_no_number_is_missing_before_anybody_decides(world):
    """And then the record is what was decided upon."""
    w = world()
    fleet, view = w.fleets[0], Weather(1)
    for _ in range(30):
        found = w.eyes.observe(fleet, {}).observation
        pools = tuple(view(replace(pool, ready=3)) for pool in found.pools)
        clean = sanitised(replace(found, pools=pools))
        given = Given(clean, FleetRules(), Standing())
        assert given_of(given_bytes(given)) == given
        for reading in clean.pools[0].signals.values():
            assert reading.value is None or reading.value == reading.value
        json.loads(given_bytes(given))


def test_every_policy_can_be_made_by_its_name():
    """The ledger keeps names and parameters."""
    assert set(LIVE) <= set(POLICIES)
