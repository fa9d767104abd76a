"""What decides changes while requests wait, and nobody is dropped."""

from datetime import UTC, datetime

import orjson
import pytest

from collector.agent.post import Answer, Unreachable
from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance
from controller.gateway.gate import Gate
from controller.gateway.tenant_file import book_of
from servescope.gateway import assembly, policy
from servescope.gateway.settings import GatewaySettings
from servescope.gateway.steering import Steering
from store.clock import VirtualClock
from store.errors import ServescopeError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Server:
    def __init__(self, word):
        self.word, self.asked = word, []

    async def post(self, path, headers, body):
        self.asked.append(orjson.loads(body))
        if self.word is None:
            raise Unreachable("nobody there")
        return Answer(200, {}, orjson.dumps(self.word))

    async def aclose(self):
        pass


@pytest.fixture
def steered():
    settings = GatewaySettings()
    gate = Gate(policy.policies(settings))
    steering = Steering(settings, VirtualClock(NOW))
    pumped = []
    steering.attach(gate, lambda: pumped.append(True))
    return steering, gate, pumped


def ask(number, tenant="a"):
    return Ask(number, float(number), tenant, "m", 10, 5.0, 9.0)


async def test_a_policy_comes_while_requests_wait(steered, tmp_path):
    """Each of them is served by the new line; the server is told how the gateway stands."""
    steering, gate, pumped = steered
    for number in range(5):
        assert gate.arrive(ask(number), float(number)) is None
    word = {"policy_version": 1, "policy": {"line": "vtc", "most_waiting": 5}, "decision_id": 9,
            "starting": [{"ready_seconds": 1.0, "late_seconds": 2.0}]}  # fmt: skip
    server = Server(word)
    standing = {"waiting_rows": 0, "dropped_rows": 0, "details": {}}
    steering.ask("edge", "http://n:8300", server, tmp_path, lambda: standing)
    assert await steering.control.ask()
    assert gate.policies.line.spec.name == "vtc"
    assert gate.arrive(ask(9), 9.0).code == "queue_full"
    assert len(gate.starting) == 1
    assert pumped
    assert (steering.marks().policy_version, steering.marks().decision_id) == (1, 9)
    gate.join(Instance("i", "http://i", seats=8))
    assert sorted(one.number for one, _ in gate.starts(10.0)) == list(range(5))
    assert server.asked[0]["url"] == "http://n:8300"
    server.word = None
    await steering.control.ask()
    assert steering.status()["problem"] == "nobody there"
    assert steering.status()["policy_version"] == 1
    await steering.aclose()


def test_limits_of_tenants_are_kept_whatever_the_policy(steered):
    """A change of either keeps the other."""
    steering, gate, _ = steered
    steering.use_book(book_of({"tenant": {"a": {"requests_per_minute": 2}}}, "t"))
    steering.use_policy({"line": "vtc"})
    told = [gate.arrive(ask(number), 100.0) for number in range(3)]
    assert [one and one.scope for one in told] == [None, None, "tenant"]
    assert gate.arrive(ask(7, "b"), 100.0) is None
    before = gate.policies
    steering.use_book(book_of({"tenant": {"a": {"requests_per_minute": 2, "weight": 3}}}, "t"))
    assert gate.policies is before
    with pytest.raises(ServescopeError):
        steering.use_policy({"line": "none"})
    assert gate.policies is before


async def test_a_gateway_is_put_together_so_that_it_follows(tmp_path):
    """The policy reaches the gate, the tenants' limits their rules, and both the status."""
    file = tmp_path / "tenants.toml"
    file.write_text("[tenant.a]\nrequests_at_once = 1\n", "utf-8")
    settings = GatewaySettings(
        upstreams=("http://127.0.0.1:9",), server="http://127.0.0.1:9", tenants_file=str(file),
        spool_folder=str(tmp_path / "spool"), name="edge",
    )  # fmt: skip
    made = assembly.build(settings, VirtualClock(NOW))
    made.beside.open()
    made.beside.steering.use_policy({"line": "vtc"})
    specs = made.gate.policies
    assert (specs.line.spec.name, [rule.spec.name for rule in specs.rules]) == (
        "vtc", ["concurrency"],
    )  # fmt: skip
    assert made.proxy.hooks.lengths is made.beside.steering.lengths
    told = made.beside.standing()
    assert told["details"]["line"] == "vtc"
    assert made.beside.status()["control"]["server"] == "not heard yet"
    file.write_text("[tenant.a]\nrequests_at_once = -1\n", "utf-8")
    await made.beside.watched.look()
    assert "requests_at_once" in made.beside.standing()["details"]["problem"]
    await made.beside.aclose()
