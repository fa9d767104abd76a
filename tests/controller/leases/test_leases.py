"""Leases: never two owners at once, whoever stops, is cut off or comes back."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.leases.check import check_lease_table
from controller.leases.file import FileLeases
from controller.leases.kept import KeptLeases
from controller.leases.memory import MemoryLeaseTable
from controller.leases.postgres import PostgresLeases
from store.clock import VirtualClock, WallClock
from store.errors import ControllerError
from store.lake_address import lake_address
from store.lake_tables import LakeTables
from tests.lakes import Postgres, why_not

NOW = datetime(2026, 1, 31, tzinfo=UTC)
SECONDS = 9.0


@pytest.fixture
def clock():
    return VirtualClock(NOW)


@pytest.fixture
def table(clock):
    return MemoryLeaseTable(clock)


@pytest.fixture
def two(table, clock):
    return tuple(KeptLeases(table, name, clock, SECONDS, ["chat"]) for name in ("one", "two"))


def confirmed(leases, decision_id=1, seconds=1.0):
    return asyncio.run(leases.confirm("chat", decision_id, seconds))


def test_the_memory_of_tests_keeps_leases_as_a_table_should(clock, table):
    """The double obeys what the real one does."""

    def passed(seconds):
        clock.advance(seconds)
        return True

    check_lease_table(table, table, passed)


def test_one_has_it_and_the_other_waits_until_it_runs_out(two, clock):
    """Nobody renews for the first any more: it stops by itself before the second begins."""
    one, two_ = two
    one.round()
    two_.round()
    assert (one.holds("chat"), two_.holds("chat")) == (True, False)
    assert two_.owner("chat") == "one"
    clock.advance(SECONDS * 0.95)
    two_.round()
    assert (one.holds("chat"), two_.holds("chat")) == (False, False)
    clock.advance(SECONDS * 0.1)
    two_.round()
    assert (one.holds("chat"), two_.holds("chat")) == (False, True)
    assert two_.token("chat") == 2


def test_who_was_cut_off_confirms_nothing_even_if_it_believes_to_hold(two, clock, table):
    """The fence is the table's: a process that slept does not get past it."""
    one, two_ = two
    one.round()
    assert confirmed(one, 7)
    table.release(["chat"], "one")
    two_.round()
    assert one.holds("chat")
    assert not confirmed(one, 8)
    assert confirmed(two_, 9)


def test_a_table_that_is_away_takes_nothing_and_gives_nothing(two, clock, table):
    """What is held stays so while it lasts; acts wait; and it says why."""
    one, two_ = two
    one.round()
    table.is_away = True
    one.round()
    two_.round()
    assert one.holds("chat")
    assert not confirmed(one)
    with pytest.raises(ControllerError, match="does not answer"):
        two_.take("chat")
    clock.advance(SECONDS)
    assert not one.holds("chat")
    table.is_away = False
    one.round()
    assert one.take("chat")
    assert confirmed(one)


def test_what_is_let_go_is_the_others_at_the_next_round(two):
    """An orderly end leaves nobody waiting."""
    one, two_ = two
    one.round()
    one.close()
    two_.round()
    assert two_.holds("chat")
    assert not one.holds("chat")


def test_a_pool_is_wanted_from_the_first_question_on(two):
    """And let go of for good."""
    one, two_ = two
    assert not one.take("code")
    one.round()
    assert one.take("code")
    one.release("code")
    one.round()
    assert not one.holds("code")
    two_.take("code")
    two_.round()
    assert two_.holds("code")


def test_the_thread_renews_and_ends(table, clock):
    """As the server runs it."""
    leases = KeptLeases(table, "one", WallClock(), 30.0, ["chat"])
    leases.start()
    assert leases.holds("chat")
    leases.close()
    assert leases._thread is not None
    assert not leases._thread.is_alive()
    assert table.renew(["chat"], "two", 1.0)["chat"].token != 1


STEPS = st.lists(st.one_of(
    st.tuples(st.just("round"), st.integers(0, 2)),
    st.tuples(st.just("pass"), st.floats(0, 2 * SECONDS)),
    st.tuples(st.just("act"), st.integers(0, 2)),
    st.tuples(st.just("release"), st.integers(0, 2)),
    st.tuples(st.just("away"), st.booleans()),
), max_size=40)  # fmt: skip


@given(STEPS)
def test_whatever_happens_never_two_hold_and_no_act_of_an_old_owner(steps):
    """Of three controllers at one table, whatever they do in whatever order."""
    clock = VirtualClock(NOW)
    table = MemoryLeaseTable(clock)
    three = [KeptLeases(table, f"c{n}", clock, SECONDS, ["chat"]) for n in range(3)]
    decision, tokens = 0, []
    for step, value in steps:
        if step == "round":
            three[value].round()
        elif step == "pass":
            clock.advance(value)
        elif step == "release":
            three[value].release("chat")
        elif step == "away":
            table.is_away = value
        else:
            decision += 1
            held = three[value]._held.get("chat")
            if asyncio.run(three[value].confirm("chat", decision, 1.0)):
                tokens.append(held.token)
        assert sum(leases.holds("chat") for leases in three) <= 1
    assert tokens == sorted(tokens)


def test_files_keep_their_promises(tmp_path):
    """The lock of one machine, by the same questions."""
    one, two = FileLeases(tmp_path, "one"), FileLeases(tmp_path, "two")
    assert one.take("chat")
    assert not two.take("chat")
    assert (confirmed(one), confirmed(two)) == (True, False)
    one.close()
    assert two.take("chat")
    assert two.token("chat") > 1
    assert not confirmed(one)


@pytest.fixture(scope="module")
def address():
    """Of a lake in a real PostgreSQL of our own."""
    missing = why_not("lake")
    if missing:
        pytest.skip(missing)
    postgres = Postgres()
    yield lake_address(postgres.url("postgres"), "files")
    postgres.stop()


def test_postgresql_keeps_leases_as_a_table_should(address):
    """The real one, by its own clock."""
    clock = WallClock()
    began = []

    def passed(seconds):
        began.append(clock.monotonic())
        return began[-1] - began[0] >= seconds

    one, other = PostgresLeases(LakeTables(address)), PostgresLeases(LakeTables(address))
    check_lease_table(one, other, passed)
    one.close()
    other.close()
    one.renew(["again"], "one", 1.0)  # it comes back by itself
    one.close()


def test_a_database_that_is_not_there_is_said_without_its_password():
    """In one line, whatever the address holds."""
    nowhere = lake_address("postgresql://me:hush@127.0.0.1:1/none", "files")
    with pytest.raises(ControllerError, match="does not answer") as caught:
        PostgresLeases(LakeTables(nowhere)).renew(["chat"], "one", 1.0)
    assert "hush" not in str(caught.value)
    assert "\n" not in caught.value.message


def test_a_controller_that_cannot_reach_its_leases_does_not_act(address):
    """The database goes while it holds: it stops, and says so."""
    tables = LakeTables(address)
    leases = KeptLeases(PostgresLeases(tables), "one", WallClock(), 30.0, ["edge"])
    leases.round()
    assert leases.holds("edge")
    tables.close()
    tables._login = {**address.login, "PORT": "1"}
    assert not asyncio.run(leases.confirm("edge", 1, 1.0))
