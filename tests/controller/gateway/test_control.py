"""The gateway goes by the server's word, and by the last good one when there is none."""

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.agent.post import Answer, Unreachable
from controller.gateway.control import FILE, FORGET_STARTING_SECONDS, Control
from controller.gateway.hooks import Caller, Lengths, Said
from controller.gateway.lengths import TableLengths, bin_of, table_of
from store.clock import VirtualClock
from store.errors import ControllerError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
POLICY = {"line": "vtc"}
WORD = {
    "policy_version": 3, "policy": POLICY, "decision_id": 17, "lengths_version": "a",
    "lengths": [["m", None, None, 20.0, 50.0]],
    "starting": [{"pool": "p", "ready_seconds": 30.0, "late_seconds": 45.0}],
}  # fmt: skip


class Server:
    """Says one thing, or is away."""

    def __init__(self, word=None):
        self.word = word
        self.asked = []

    async def post(self, path, headers, body):
        self.asked.append((path, orjson.loads(body)))
        if self.word is None:
            raise Unreachable("nobody there")
        if isinstance(self.word, Answer):
            return self.word
        return Answer(
            200, {}, self.word if isinstance(self.word, bytes) else orjson.dumps(self.word)
        )

    async def aclose(self):
        pass


class Gateway:
    """What is in force."""

    def __init__(self):
        self.policy = None
        self.starting = ()

    def apply(self, policy):
        if policy.get("line") == "of tomorrow":
            raise ControllerError("there is no line 'of tomorrow'")
        self.policy = dict(policy)

    def start(self, starting):
        self.starting = starting


def control(folder, server, gateway, clock=None):
    return Control(
        "edge", server, folder, clock or VirtualClock(NOW), lambda: {"node": "n"},
        gateway.apply, gateway.start, seats=8,
    )  # fmt: skip


async def test_the_servers_word_counts(tmp_path):
    """Policy, replicas on their way, lengths, the decision that rows name."""
    server, gateway, clock = Server(WORD), Gateway(), VirtualClock(NOW)
    one = control(tmp_path, server, gateway, clock)
    assert await one.ask()
    assert gateway.policy == POLICY
    assert (one.marks.policy_version, one.marks.decision_id) == (3, 17)
    (starting,) = gateway.starting
    now = clock.monotonic()
    assert (starting.ready_at - now, starting.late_at - now, starting.seats) == (30, 45, 8)
    assert one.lengths.expected(Said("/", "m"), Caller()) == (20.0, 50.0)
    await one.ask()
    assert [has["has"] for _, has in server.asked] == [
        {"policy": None, "lengths": None}, {"policy": 3, "lengths": "a"},
    ]  # fmt: skip
    assert server.asked[0][0] == "/api/v1/gateways/edge/heartbeat"


async def test_when_the_server_is_away_the_last_word_counts(tmp_path):
    """Also after a restart; its age is told, and replicas are no longer promised."""
    server, gateway, clock = Server(WORD), Gateway(), VirtualClock(NOW)
    one = control(tmp_path, server, gateway, clock)
    await one.ask()
    server.word = None
    clock.advance(10)
    assert not await one.ask()
    state = one.state()
    assert (state.policy_version, state.age_seconds, state.problem) == (3, 10.0, "nobody there")
    assert len(gateway.starting) == 1
    clock.advance(FORGET_STARTING_SECONDS)
    await one.ask()
    assert gateway.starting == ()
    after = Gateway()
    again = control(tmp_path, server, after)
    again.load()
    assert after.policy == POLICY
    assert again.state().is_from_disk
    assert again.state().age_seconds is None
    assert again.lengths.expected(Said("/", "m"), Caller()) == (20.0, 50.0)


async def test_a_policy_that_cannot_be_changes_nothing(tmp_path):
    """It is told, not asked for again, and the next good one counts."""
    server, gateway = Server(WORD), Gateway()
    one = control(tmp_path, server, gateway)
    await one.ask()
    server.word = {**WORD, "policy_version": 4, "policy": {"line": "of tomorrow"}}
    await one.ask()
    assert gateway.policy == POLICY
    assert one.state().policy_version == 3
    assert "version 4 of the policy cannot be used here" in one.state().problem
    server.word = {"policy_version": 4, "starting": []}
    await one.ask()
    assert server.asked[-1][1]["has"]["policy"] == 4
    assert "version 4" in one.state().problem
    server.word = {"policy_version": 5, "policy": {"line": "fcfs"}, "starting": []}
    await one.ask()
    assert (gateway.policy, one.state().problem) == ({"line": "fcfs"}, None)


@pytest.mark.parametrize("word", [
    b"", b"[]", b"7", b'{"starting": 7}', b'{"starting": [{"ready_seconds": "x"}]}',
    b'{"policy": 7, "policy_version": "x", "starting": [7]}', Answer(503, {}, b"busy"),
])  # fmt: skip
async def test_garbage_is_as_if_nobody_answered(tmp_path, word):
    """A proxy's page or a broken server changes nothing."""
    gateway = Gateway()
    one = control(tmp_path, Server(word), gateway)
    assert not await one.ask()
    assert gateway.policy is None
    assert one.state().problem


@pytest.mark.parametrize("kept", [b"", b"[]", b"{", b'{"policy": 7}', b'{"policy_version": 3}'])
def test_a_damaged_file_is_as_none(tmp_path, kept):
    """The gateway's own settings count."""
    (tmp_path / FILE).write_bytes(kept)
    gateway = Gateway()
    one = control(tmp_path, Server(), gateway)
    one.load()
    assert gateway.policy is None
    assert not one.state().is_from_disk


def test_the_most_particular_length_counts():
    """Of tenant and size, of the tenant, of the size, of the model; else the default."""
    lengths = TableLengths()
    assert isinstance(lengths, Lengths)
    default = lengths.expected(Said("/", "m"), Caller("a"))
    lengths.table = table_of([
        ["m", "a", 6, 1.0, 2.0], ["m", "a", None, 3.0, 4.0], ["m", None, 6, 5.0, 6.0],
        ["m", None, None, 7.0, 8.0], ["m"], 7 * ["m"], [None, None, None, 1.0, 1.0],
        ["m", "c", 6, None, 1.0],
    ])  # fmt: skip

    def told(tenant, tokens, model="m", most=None):
        said = Said("/", model, input_tokens=tokens, most_output_tokens=most)
        return lengths.expected(said, Caller(tenant))

    assert told("a", 100) == (1.0, 2.0)
    assert told("a", 9) == (3.0, 4.0)
    assert told("b", 100) == (5.0, 6.0)
    assert told("b", 9) == (7.0, 8.0)
    assert told("b", 9, most=2) == (2.0, 2.0)
    assert told("b", 9, model="other") == default


@settings(deadline=None)
@given(st.integers(-5, 10**9))
def test_bins_are_powers_of_two(tokens):
    """As the server counts them."""
    assert 2 ** bin_of(tokens) <= max(tokens, 1) < 2 ** (bin_of(tokens) + 1)
