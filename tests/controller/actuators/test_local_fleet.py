"""A fleet of real processes on this host: started, watched, drained, adopted, never mixed up."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from collector.discovery.listed import FileDiscovery
from controller.actuators.careful import Careful, Patience
from controller.actuators.check import World, check_actuator
from controller.actuators.local import processes
from controller.actuators.local.state import Folder
from controller.actuators.local_fleet import LocalFleet, LocalPool, LocalSettings
from store.clock import WallClock
from store.errors import ControllerError

ENGINE = str(Path(__file__).with_name("engine_double.py"))
LIMIT = 20.0


def free_ports(count):
    """The first of so many ports in a row that nobody uses."""
    for first in range(20_000 + os.getpid() % 20_000, 60_000, count):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    probe = stack.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise AssertionError("no ports")


def pool(*more, **settings):
    """A pool of engines with nothing inside."""
    quick = {"leave_seconds": 0.05, "drain_seconds": 10.0, "stop_seconds": 5.0}
    command = (sys.executable, "-S", ENGINE, "{port}", *more)
    return LocalPool(command, **{**quick, **settings})


def settings(folder, pools, ports=8):
    """A fleet that looks often."""
    first = free_ports(ports)
    return LocalSettings(
        folder,
        pools,
        first_port=first,
        last_port=first + ports - 1,
        check_seconds=0.1,
        start_check_seconds=0.02,
        answer_seconds=0.5,
        silent_seconds=0.8,
    )


@contextlib.asynccontextmanager
async def fleet_of(given):
    """A fleet that leaves nothing behind."""
    fleet = LocalFleet(given, WallClock())
    try:
        yield fleet
    finally:
        await fleet.aclose()
        last = LocalFleet(given, WallClock())
        assert await last.end(LIMIT)
        await last.aclose()
        assert list(processes.marked(Folder(given.folder).fleet)) == []


async def until(true):
    """Wait until it is true; processes have their own pace."""
    clock = WallClock()
    begun = clock.monotonic()
    while True:
        found = true()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert clock.monotonic() - begun < LIMIT, "it did not happen in time"
        await clock.sleep(0.02)


async def ready(fleet, name, count):
    """Wait until so many of a pool take requests."""

    async def are():
        return (await fleet.read(name)).ready == count

    await until(are)


def pids(fleet_settings):
    """Process numbers of a fleet by replica, as the system tells."""
    fleet = Folder(fleet_settings.folder).fleet
    return {one.replica: one.identity.pid for one in processes.marked(fleet)}


def written(fleet_settings, name):
    """Addresses of a pool as routers read them."""
    told = json.loads((fleet_settings.folder / "endpoints.json").read_text())
    return {one["address"] for one in told["pools"][name]}


async def test_it_keeps_the_contract(tmp_path):
    """Idempotent, seen conflicts, refusals, honest about what it has."""
    given = settings(tmp_path / "fleet", {"chat": pool(initial=1, most=6)})
    async with fleet_of(given) as fleet:
        await ready(fleet, "chat", 1)
        await fleet.aclose()

        def told():
            state = json.loads((given.folder / "state.json").read_text())
            return state["pools"]["chat"]["replicas"]

        done = await check_actuator(
            lambda: Careful(LocalFleet(given, WallClock()), WallClock(), Patience(5.0, 0.1)),
            World("chat", told),
        )
        assert set(done) >= {"applies", "refuses_nonsense", "leaves_replicas"}


async def test_replicas_come_and_go_with_the_number(tmp_path):
    """Up: they are published when ready. Down: they leave. What is published is what serves."""
    given = settings(
        tmp_path / "fleet", {"chat": pool("--loads", "0.1", model="m", labels={"zone": "a"})}
    )
    targets = FileDiscovery(str(given.folder / "targets.json"))
    async with fleet_of(given) as fleet:
        actuator = Careful(fleet, WallClock())
        assert (await fleet.read("chat")).wanted == 0
        made = await actuator.apply("chat", 3, "d1")
        assert made.outcome == "applied"
        assert made.scale.ready == 0
        assert made.scale.starting == 3
        await ready(fleet, "chat", 3)
        assert len(fleet.endpoints("chat")) == 3
        serving = {one.address for one in fleet.endpoints()}
        await until(lambda: written(given, "chat") == serving)
        found = await targets.targets()
        assert len(found) == 3
        assert found[0].labels["zone"] == "a"
        assert found[0].labels["model"] == "m"
        await actuator.apply("chat", 1, "d2")
        await until(lambda: len(pids(given)) == 1)
        assert len(fleet.endpoints("chat")) == 1
        assert (await fleet.read("chat")).decision_id == "d2"
        await until(lambda: len(json.loads((given.folder / "targets.json").read_text())) == 1)


async def test_starts_are_told_in_phases(tmp_path):
    """Asked, spawned, port open, ready: in order, for every replica."""
    given = settings(tmp_path / "fleet", {"chat": pool("--loads", "0.3", model="m")})
    async with fleet_of(given) as fleet:
        await Careful(fleet, WallClock()).apply("chat", 1, "d1")
        await ready(fleet, "chat", 1)
        told = fleet.take_starts()
        assert [one.phase for one in told] == ["schedule", "process", "engine", "ready"]
        assert [one.ended_at for one in told] == sorted(one.ended_at for one in told)
        assert (told[2].ended_at - told[2].started_at).total_seconds() > 0.05
        assert {one.model for one in told} == {"m"}
        assert told[0].instance == fleet.endpoints()[0].address
        assert fleet.take_starts() == ()


async def test_running_requests_end_before_their_replica_does(tmp_path):
    """It is unpublished first, and SIGTERM waits until nothing runs on it."""
    busy = tmp_path / "busy"
    busy.write_text("2")
    given = settings(tmp_path / "fleet", {"chat": pool("--busy", str(busy))})
    async with fleet_of(given) as fleet:
        actuator = Careful(fleet, WallClock())
        await actuator.apply("chat", 1, "d1")
        await ready(fleet, "chat", 1)
        made = await actuator.apply("chat", 0, "d2")
        assert (made.scale.ready, made.scale.draining) == (0, 1)
        assert fleet.endpoints() == ()
        await WallClock().sleep(0.3)
        assert len(pids(given)) == 1, "it was ended with requests running"
        assert (await fleet.read("chat")).draining == 1
        busy.write_text("0")
        await until(lambda: not pids(given))


async def test_one_that_drains_comes_back_when_it_is_wanted_again(tmp_path):
    """Calling back is at once; starting another would take its time."""
    busy = tmp_path / "busy"
    busy.write_text("1")
    given = settings(tmp_path / "fleet", {"chat": pool("--busy", str(busy))})
    async with fleet_of(given) as fleet:
        actuator = Careful(fleet, WallClock())
        await actuator.apply("chat", 1, "d1")
        await ready(fleet, "chat", 1)
        before = pids(given)
        await actuator.apply("chat", 0, "d2")
        await until(lambda: not fleet.endpoints())
        await actuator.apply("chat", 1, "d3")
        await until(lambda: len(fleet.endpoints()) == 1)
        assert pids(given) == before


async def test_draining_has_an_end(tmp_path):
    """A request that never ends, or an engine that ignores SIGTERM, holds nothing for ever."""
    busy = tmp_path / "busy"
    busy.write_text("1")
    given = settings(
        tmp_path / "fleet",
        {"chat": pool("--stubborn", "--busy", str(busy), drain_seconds=0.2, stop_seconds=0.2)},
    )
    async with fleet_of(given) as fleet:
        actuator = Careful(fleet, WallClock())
        await actuator.apply("chat", 1, "d1")
        await ready(fleet, "chat", 1)
        await actuator.apply("chat", 0, "d2")
        await until(lambda: not pids(given))


async def test_a_restarted_controller_adopts_its_own(tmp_path):
    """The same processes go on; nothing is started, nothing is ended."""
    given = settings(tmp_path / "fleet", {"chat": pool()})
    async with fleet_of(given) as fleet:
        await Careful(fleet, WallClock()).apply("chat", 2, "d1")
        await ready(fleet, "chat", 2)
        before = pids(given)
        await fleet.aclose()
        again = LocalFleet(given, WallClock())
        try:
            assert (await again.read("chat")).wanted == 2
            await ready(again, "chat", 2)
            assert pids(given) == before
            assert again.take_starts() == (), "an adopted replica did not start now"
            same = await Careful(again, WallClock()).apply("chat", 2, "d1")
            assert same.outcome == "unchanged", "the decision was applied before the restart"
        finally:
            await again.aclose()


async def test_closing_right_after_a_decision_ends(tmp_path):
    """The one who watches is told to look and to end at the same moment: it ends."""
    given = settings(tmp_path / "fleet", {"chat": pool()})
    async with fleet_of(given) as fleet, asyncio.timeout(LIMIT):
        for number in range(1, 4):
            seen = await fleet.read("chat")
            await WallClock().sleep(0.05)
            await fleet.write("chat", number % 2, seen, f"d{number}")
            await fleet.aclose()


CONTROLLER = """
import asyncio, sys
from pathlib import Path
from controller.actuators.careful import Careful
from controller.actuators.local_fleet import LocalFleet, LocalPool, LocalSettings
from store.clock import WallClock

async def main(folder, first, engine):
    pool = LocalPool((sys.executable, "-S", engine, "{port}", "--loads", "0.2"))
    given = LocalSettings(Path(folder), {"chat": pool}, int(first), int(first) + 7)
    await Careful(LocalFleet(given, WallClock()), WallClock()).apply("chat", 3, "d1")
    print("asked", flush=True)
    await WallClock().sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("lives", [0.0, 0.03, 0.3])
async def test_a_controller_that_was_killed_leaves_nothing_to_chance(tmp_path, lives):
    """Whenever it dies: its processes are taken on by the next, none is doubled, none is lost."""
    given = settings(tmp_path / "fleet", {"chat": pool("--loads", "0.2")})
    arguments = (str(given.folder), str(given.first_port), ENGINE)
    async with fleet_of(given) as fleet:
        first = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CONTROLLER, *arguments, stdout=subprocess.PIPE
        )
        assert await first.stdout.readline() == b"asked\n"
        await WallClock().sleep(lives)
        first.kill()
        await first.wait()
        before = pids(given)
        await ready(fleet, "chat", 3)
        after = pids(given)
        assert len(after) == 3
        assert before.items() <= after.items(), "a process was ended or started twice"


async def test_lost_books_are_written_anew_from_what_runs(tmp_path):
    """Without its state the fleet finds its processes by their marks."""
    given = settings(tmp_path / "fleet", {"chat": pool()})
    async with fleet_of(given) as fleet:
        await Careful(fleet, WallClock()).apply("chat", 2, "d1")
        await ready(fleet, "chat", 2)
        before = pids(given)
        await fleet.aclose()
        (given.folder / "state.json").write_text('{"format": 1, "pools": ')
        again = LocalFleet(given, WallClock())
        try:
            await ready(again, "chat", 2)
            assert (await again.read("chat")).wanted == 2
            assert pids(given) == before
            assert (given.folder / "state.damaged").exists()
        finally:
            await again.aclose()


@pytest.fixture
def stranger():
    """A process that is none of ours."""
    found = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    yield found
    found.communicate()


async def test_a_number_that_was_used_again_is_not_ours(tmp_path, stranger):
    """A record whose process number belongs to somebody else now leads to no signal."""
    given = settings(tmp_path / "fleet", {"chat": pool()})
    async with fleet_of(given) as fleet:
        await Careful(fleet, WallClock()).apply("chat", 1, "d1")
        await ready(fleet, "chat", 1)
        await fleet.aclose()
        (pid,) = pids(given).values()
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not pids(given))
        state = json.loads((given.folder / "state.json").read_text())
        (replica,) = state["replicas"].values()
        # The stranger may have been started in the same tick of the clock as the replica.
        replica["process"]["pid"] = stranger.pid
        replica["process"]["start_ticks"] -= 100
        state["pools"]["chat"]["replicas"] = 0
        (given.folder / "state.json").write_text(json.dumps(state))
        async with contextlib.aclosing(LocalFleet(given, WallClock())) as again:
            await ready(again, "chat", 0)
            assert (await again.read("chat")).draining == 0
            assert await again.end(LIMIT)
        assert stranger.poll() is None, "a stranger was ended"


async def test_one_that_dies_is_replaced(tmp_path):
    """The number is kept, and the dead one is no longer published."""
    given = settings(tmp_path / "fleet", {"chat": pool()})
    async with fleet_of(given) as fleet:
        await Careful(fleet, WallClock()).apply("chat", 1, "d1")
        await ready(fleet, "chat", 1)
        (old,) = pids(given).values()
        os.kill(old, signal.SIGKILL)
        await until(lambda: set(pids(given).values()) - {old})
        await ready(fleet, "chat", 1)


async def test_workers_do_not_outlive_their_engine(tmp_path):
    """An engine that is killed may leave processes that hold its memory; they are ended."""
    given = settings(tmp_path / "fleet", {"chat": pool("--worker", initial=1)})
    mark = Folder(given.folder).fleet

    def family():
        return {one.identity for one in processes._carrying(mark)}

    async with fleet_of(given) as fleet:
        await ready(fleet, "chat", 1)
        before = family()
        assert len(before) == 2
        os.kill(*pids(given).values(), signal.SIGKILL)
        await until(lambda: not any(processes.alive(one) for one in before))
        await ready(fleet, "chat", 1)
        await fleet.aclose()
        before = family()
        (killed,) = pids(given).values()
        os.kill(killed, signal.SIGKILL)
        # Dying takes a moment, in which it would still count as ready.
        await until(lambda: processes.identity(killed) is None)
        async with contextlib.aclosing(LocalFleet(given, WallClock())) as again:
            await ready(again, "chat", 1)
            await until(lambda: not any(processes.alive(one) for one in before))
    assert family() == set()


async def test_one_that_hangs_is_no_longer_published(tmp_path):
    """A stopped process takes no requests; when it goes on, it does again."""
    given = settings(tmp_path / "fleet", {"chat": pool()})
    async with fleet_of(given) as fleet:
        await Careful(fleet, WallClock()).apply("chat", 1, "d1")
        await ready(fleet, "chat", 1)
        (pid,) = pids(given).values()
        os.kill(pid, signal.SIGSTOP)
        try:
            await until(lambda: not fleet.endpoints())
            assert (await fleet.read("chat")).ready == 0
        finally:
            os.kill(pid, signal.SIGCONT)
        await ready(fleet, "chat", 1)


async def test_failing_starts_are_told_and_slow_down(tmp_path):
    """An engine that ends at once is not started over and over; the outcome says why."""
    given = settings(tmp_path / "fleet", {"chat": pool("--fails")})
    async with fleet_of(given) as fleet:
        actuator = Careful(fleet, WallClock())
        await actuator.apply("chat", 1, "d1")
        told = []
        await until(lambda: told.extend(fleet.take_starts()) or told)
        assert told[0].phase == "failed"
        made = await actuator.apply("chat", 2, "d2")
        assert "the last start failed" in made.text
        await WallClock().sleep(0.3)
        assert len(list(given.folder.glob("r*.log"))) <= 4
        assert "no memory" in next(given.folder.glob("r*.log")).read_text()


async def test_a_program_that_is_not_there_is_told(tmp_path):
    """A typing mistake in the command is a sentence, not a crash."""
    given = settings(
        tmp_path / "fleet", {"chat": LocalPool(("/no/such/engine", "{port}"), initial=1)}
    )
    async with fleet_of(given) as fleet:
        await fleet.start()
        told = []
        await until(lambda: told.extend(fleet.take_starts()) or told)
        assert "/no/such/engine: No such file" in told[0].evidence


async def test_two_controllers_never_hold_one_fleet(tmp_path):
    """The second one is told who is in the way, and changes nothing."""
    given = settings(tmp_path / "fleet", {"chat": pool()})
    async with fleet_of(given) as fleet:
        await fleet.start()
        second = Careful(LocalFleet(replace(given, hold_seconds=0.1), WallClock()), WallClock())
        with pytest.raises(ControllerError, match="another controller holds this fleet"):
            await second.read("chat")
        made = await second.apply("chat", 2, "d1")
        assert made.outcome == "failed"
        assert (await fleet.read("chat")).wanted == 0
        await second.aclose()


async def test_more_than_fits_is_refused(tmp_path):
    """The most of a pool, and the ports of all of them."""
    given = settings(tmp_path / "fleet", {"a": pool(most=3), "b": pool(initial=2)}, ports=4)
    async with fleet_of(given) as fleet:
        actuator = Careful(fleet, WallClock())
        assert "3 at most" in (await actuator.apply("a", 4, "d1")).text
        made = await actuator.apply("a", 3, "d2")
        assert made.outcome == "refused"
        assert "4 ports" in made.text


async def test_a_pool_that_is_no_longer_configured_leaves(tmp_path):
    """Nobody would ever end its processes otherwise."""
    given = settings(tmp_path / "fleet", {"a": pool(initial=1), "b": pool(initial=1)})
    async with fleet_of(given) as fleet:
        await ready(fleet, "a", 1)
        await ready(fleet, "b", 1)
        await fleet.aclose()
        less = LocalSettings(given.folder, {"a": pool()}, given.first_port, given.last_port)
        again = LocalFleet(less, WallClock())
        await again.start()
        await until(lambda: len(pids(given)) == 1)
        assert (await again.read("a")).wanted == 1
        await again.aclose()


async def test_a_fleet_is_ended_by_command(tmp_path):
    """All of its processes leave; while a controller holds it, none does."""
    given = settings(tmp_path / "fleet", {"chat": pool(initial=2)})

    async def run(folder=given.folder):
        command = (sys.executable, "-m", "controller.actuators.local", str(folder))
        ran = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
        told = (await ran.communicate())[1].decode()
        return ran.returncode, told

    async with fleet_of(given) as fleet:
        await ready(fleet, "chat", 2)

        status, told = await run()
        assert status == 1
        assert "another controller holds this fleet" in told
        assert len(pids(given)) == 2
        await fleet.aclose()
        assert (await run())[0] == 0
        assert pids(given) == {}
    assert "no folder of a local fleet" in (await run(tmp_path))[1]


def test_a_long_log_keeps_its_newer_half(tmp_path):
    """Whoever writes appends and goes on."""
    log = tmp_path / "r.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old " * 2000)
        writer.write(b"new")
        processes.trim(log, 4096)
        writer.write(b" and on")
    told = log.read_bytes()
    assert len(told) < 4096
    assert told.endswith(b"new and on")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"command": ()}, "command is empty"),
        ({"command": ("engine",)}, "must say {port}"),
        ({"command": ("{port}",), "initial": 9, "most": 2}, "initial"),
        ({"command": ("{port}",), "stop_seconds": 0}, "stop_seconds"),
    ],
)
def test_settings_that_cannot_work_are_told(wrong, told):
    """Before anything is started."""
    with pytest.raises(ValueError, match=told):
        LocalPool(**wrong)
