"""Numbers of workers in etcd: whole decisions, one after the other, and the other side's answer."""

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess

import httpx2
import pytest

from controller.actuators.careful import Careful, Patience
from controller.actuators.check import World, check_actuator
from controller.actuators.doubles.etcd_api import FakeEtcd
from controller.actuators.dynamo_virtual import DynamoPool, DynamoSettings, DynamoVirtual
from controller.actuators.platform import Conflicted
from servescope.live import obtain
from store.clock import WallClock
from store.errors import ControllerError

HASTY = Patience(limit_seconds=2.0, told_back_seconds=0.3, pause_seconds=0.02)
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


def etcd_command():
    """A real etcd; skips when there is none."""
    cached = obtain.cache_folder() / "peers" / "usr" / "bin" / "etcd"
    found = os.environ.get("SERVESCOPE_ETCD") or shutil.which("etcd")
    if not found and not cached.exists():
        pytest.skip("no etcd: apt-get install etcd-server, or set SERVESCOPE_ETCD")
    return found or str(cached)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def real_etcd(tmp_path):
    """An etcd of its own, ended by its number."""
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    started = subprocess.Popen(
        [etcd_command(), "--data-dir", tmp_path / "etcd", "--listen-client-urls", client,
         "--advertise-client-urls", client, "--listen-peer-urls", peer,
         "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield client
    finally:
        started.kill()
        started.wait()


@pytest.mark.engine
async def test_the_real_etcd_keeps_decisions(real_etcd):
    """Transactions, conflicts and the other side's answer, as etcd's own gateway does them."""
    settings = DynamoSettings(BOTH, url=real_etcd, prefill_initial=1)
    patience = Patience(limit_seconds=20.0)
    first, second = (
        Careful(DynamoVirtual(settings, WallClock()), WallClock(), patience) for _ in range(2)
    )
    clock, begun = WallClock(), WallClock().monotonic()
    while True:
        with contextlib.suppress(ControllerError):
            seen = await first.read("d")
            break
        assert clock.monotonic() - begun < 30
        await clock.sleep(0.1)
    assert seen.wanted is None
    assert (await first.apply("d", 2, "one")).outcome == "applied"
    assert (await second.apply("d", 2, "one")).outcome == "unchanged"
    seen = await first.read("d")
    assert (await second.apply("p", 3, "two")).outcome == "applied"
    assert (await first.apply("d", 4, "three", seen.version)).outcome == "applied"
    assert (await second.apply("d", 5, "four", seen.version)).outcome == "conflict"
    assert ((await second.read("p")).wanted, (await second.read("d")).wanted) == (3, 4)
    stale = await first.platform.read("d")
    await second.apply("p", 6, "five")
    with pytest.raises(Conflicted):
        await first.platform.write("d", 9, stale, "six")
    assert (await first.read("d")).ready is None
    body = {"key": encoded("v1/dynamo/planner/scaled_decision_id"), "value": encoded("3")}
    async with httpx2.AsyncClient(base_url=real_etcd, trust_env=False) as client:
        assert (await client.post("/v3/kv/put", json=body)).status_code == 200
    assert (await first.read("d")).ready == 4
    await first.aclose()
    await second.aclose()


def encoded(text):
    """As the gateway wants it."""
    return base64.b64encode(text.encode()).decode()
