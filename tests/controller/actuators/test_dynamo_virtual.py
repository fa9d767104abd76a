"""Numbers of workers in etcd: whole decisions, one after the other, and the other side's answer."""

import json

import pytest

from controller.actuators.careful import Careful, Patience
from controller.actuators.check import World, check_actuator
from controller.actuators.doubles.etcd_api import FakeEtcd
from controller.actuators.dynamo_virtual import DynamoPool, DynamoSettings, DynamoVirtual
from store.clock import WallClock
from store.errors import ControllerError

HASTY = Patience(limit_seconds=3.0, told_back_seconds=0.3, pause_seconds=0.02)
BOTH = {"p": DynamoPool("prefill"), "d": DynamoPool("decode")}


@pytest.fixture
def etcd():
    """An etcd where older Dynamo has decided once."""
    with FakeEtcd() as found:
        found.put(num_prefill_workers="1", num_decode_workers="4", decision_id="7")
        yield found


@pytest.fixture
async def make(etcd):
    """Makes actuators of it, and closes them."""
    all_made = []

    def made(**settings):
        given = DynamoSettings(BOTH, url=etcd.web.url, answer_seconds=20.0, **settings)
        all_made.append(Careful(DynamoVirtual(given, WallClock()), WallClock(), HASTY))
        return all_made[-1]

    yield made
    for one in all_made:
        await one.aclose()


async def test_it_keeps_the_contract(etcd, make):
    """Every promise, over a real socket."""

    def others(number):
        told = json.loads(etcd.get("scaling_decision"))
        told = {**told, "num_decode_workers": number, "decision_id": told["decision_id"] + 1}
        etcd.put(scaling_decision=json.dumps(told))

    world = World(
        "d",
        lambda: json.loads(etcd.get("scaling_decision"))["num_decode_workers"],
        by_others=others,
        refuses=lambda on: setattr(etcd, "denied", on),
        hangs=etcd.web.hang,
        lies=lambda on: setattr(etcd, "lies", on),
        unreadable=lambda on: setattr(etcd, "status", 503 if on else 200),
    )
    await make().apply("d", 1, "first")
    assert len(await check_actuator(make, world)) == 8


async def test_a_decision_is_whole(etcd, make):
    """Both numbers and the next decision number, as record and as keys."""
    made = await make().apply("d", 6, "ours")
    assert made.outcome == "applied"
    assert "decision number 8" in made.text
    record = {"num_prefill_workers": 1, "num_decode_workers": 6, "decision_id": 8}
    assert json.loads(etcd.get("scaling_decision")) == record
    assert {name: etcd.get(name) for name in record} == {
        name: str(value) for name, value in record.items()
    }
    again = await make().apply("d", 6, "ours")
    assert again.outcome == "unchanged", "etcd remembers the decision over our restart"
    other = await make().apply("d", 9, "ours")
    assert other.outcome == "applied", "the same id with another number is of another store"


async def test_ready_is_what_the_other_side_says(etcd, make):
    """Not known until it has carried the decision out."""
    actuator = make()
    await actuator.apply("p", 3, "ours")
    assert (await actuator.read("p")).ready is None
    etcd.put(scaled_decision_id="7")
    assert (await actuator.read("p")).ready is None
    etcd.put(scaled_decision_id="8")
    assert (await actuator.read("p")).ready == 3


async def test_a_first_decision_needs_the_other_role(make, etcd):
    """Nobody writes 0 workers of a role that was never decided on."""
    etcd.values.clear()
    actuator = make()
    assert (await actuator.read("d")).wanted is None
    made = await actuator.apply("d", 2, "ours")
    assert made.outcome == "refused"
    assert "prefill_initial" in made.text
    assert etcd.values == {}
    made = await make(prefill_initial=0).apply("d", 2, "ours")
    assert made.outcome == "applied"
    record = {"num_prefill_workers": 0, "num_decode_workers": 2, "decision_id": 0}
    assert json.loads(etcd.get("scaling_decision")) == record


@pytest.mark.parametrize("value", ["no JSON", '"text"'])
async def test_a_record_that_is_not_understood_changes_nothing(make, etcd, value):
    """It is not taken for zero, nor written over."""
    etcd.values.clear()
    etcd.put(scaling_decision=value)
    actuator = make(prefill_initial=1)
    made = await actuator.apply("d", 2, "ours")
    assert made.outcome == "failed"
    assert etcd.get("scaling_decision") == value


async def test_a_number_that_is_none_is_told(make, etcd):
    """Read as an error, not as zero."""
    etcd.put(num_decode_workers="many")
    with pytest.raises(ControllerError, match="'many' in etcd is no number"):
        await make().read("d")
