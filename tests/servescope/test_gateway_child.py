"""The gateway as a child: started again when it ends, ended in order, never left behind."""

import asyncio
import sys
from datetime import UTC, datetime

from servescope.config import load
from servescope.gateway.child import CHILD, ChildPlan, GatewayChild, plan
from store.clock import VirtualClock, WallClock

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Hurried(VirtualClock):
    """Whoever sleeps finds the time passed, and lets others go on."""

    async def sleep(self, seconds):
        self.advance(seconds)
        await WallClock().sleep(0)


def child(script, lines, *, drain_seconds=5.0):
    planned = ChildPlan([sys.executable, "-u", "-c", script], {}, drain_seconds)
    return GatewayChild(planned, Hurried(NOW), lines.put_nowait)


async def test_a_child_that_ends_is_started_again():
    """With a pause; what it says is shown."""
    lines = asyncio.Queue()
    one = child("print('I live'); raise SystemExit(3)", lines)
    one.start()
    async with asyncio.timeout(20):
        assert [await lines.get(), await lines.get()] == ["I live", "I live"]
    assert one.starts >= 2
    assert one.last_exit == 3
    await one.aclose()
    await one.aclose()


async def test_a_child_is_ended_in_order():
    """It may finish what it does, within its time."""
    lines = asyncio.Queue()
    script = """
import signal, sys
def end(*_):
    print("drained")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready")
signal.pause()
"""
    one = child(script, lines)
    one.start()
    async with asyncio.timeout(20):
        assert await lines.get() == "ready"
        await one.aclose()
    assert (one.last_exit, one.pid) == (0, None)


async def test_a_child_notices_that_its_parent_is_gone():
    """Its standard input ends; it does, too."""
    script = (
        "import asyncio\n"
        "from servescope.gateway.child import end_with_parent\n"
        "async def main():\n"
        "    stop = asyncio.Event()\n"
        "    end_with_parent(stop.set)\n"
        "    print('ready', flush=True)\n"
        "    await stop.wait()\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, env={CHILD: "1", "PYTHONPATH": ":".join(sys.path)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"ready\n"
        process.stdin.close()
        assert await process.wait() == 0


def test_a_child_is_planned_where_engines_are_named(tmp_path):
    """Rows go to the server that starts it, unless the settings name another."""
    none = load(None, {}, {"XDG_CONFIG_HOME": str(tmp_path)})
    assert plan(none, "http://s") is None
    file = tmp_path / "servescope.toml"
    file.write_text('[gateway]\nupstreams = ["http://127.0.0.1:8201"]\n', "utf-8")
    planned = plan(load(file, {}, {}), "http://s")
    assert planned.command[-2:] == ["--config", str(file)]
    assert planned.environment["SERVESCOPE_GATEWAY__SERVER"] == "http://s"
