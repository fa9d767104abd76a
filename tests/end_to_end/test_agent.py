"""The agent and a server: what was read is in the store once, whatever happens between."""

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from collector.agent.agent import Agent, Sources
from collector.agent.config import AgentConfig
from collector.agent.fake_nvml import FakeCard, FakeNvml
from collector.agent.post import Answer, Unreachable
from collector.agent.settings import AgentSettings
from collector.model import Sample, Scrape
from collector.settings import ScrapeSettings
from servescope.config import load
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
from store.clock import VirtualClock, WallClock
from store.database import Database

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
HEAVY = (
    *("duckdb", "torch", "dash", "polars", "pyarrow", "pandas", "numpy", "scipy"),
    *("fastapi", "starlette", "uvicorn", "httpx2", "rich", "google", "analysis", "dashboard"),
)


class Counting:
    """A source whose counter is the number of its readings."""

    target_id = 0

    def __init__(self, clock):
        self.clock = clock
        self.read = 0

    async def scrape(self, timeout_seconds):
        self.read += 1
        sample = Sample("generation_tokens_total", "{}", float(self.read))
        return Scrape(0, self.clock.now(), 0.0, "ok", samples=(sample,))

    async def aclose(self):
        pass


class ToApp:
    """A way to a server in this process; it can be cut."""

    reachable = True
    swallows_answers = False

    def __init__(self, client):
        self.client = client

    async def post(self, path, headers, body):
        if not self.reachable:
            raise Unreachable("nobody there")
        told = await asyncio.to_thread(self.client.post, path, headers=dict(headers), content=body)
        if self.swallows_answers:
            raise Unreachable("the answer was lost")
        return Answer(told.status_code, told.headers, told.content)

    async def aclose(self):
        pass


@pytest.fixture
def clock():
    return VirtualClock(NOW)


@pytest.fixture
def database(tmp_path, clock):
    config = load(None, {}, {"XDG_CONFIG_HOME": str(tmp_path)})
    with Database.open(tmp_path / "store.duckdb", config.store, clock) as database:
        yield database


@pytest.fixture
def client(tmp_path, clock, database):
    config = load(None, {}, {"XDG_CONFIG_HOME": str(tmp_path)})
    app = create_app(Runtime(config, database, clock, SloBook(None, clock)))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def make(clock, spool, way, source=None, **settings):
    """An agent whose server is in this process."""
    told = {"host": False, "gpu": False, "server": "http://x", "name": "n1", "batch_seconds": 0.0}
    agent_settings = AgentSettings(
        **{**told, "spool_folder": str(spool), "spool_reserve_bytes": 0, **settings}
    )
    config = AgentConfig(agent_settings, ScrapeSettings())
    sources = Sources(config, clock, settings.pop("nvml", None))
    if source is not None:
        sources.number("http://localhost:8000/metrics")
        sources.all.append(source)
    agent = Agent(config, clock, "0.1.0", sources)
    agent.delivery._posters = (way,)
    agent._heart._poster = way
    return agent


@contextlib.asynccontextmanager
async def running(agent):
    stop = asyncio.Event()
    task = asyncio.create_task(agent.run(stop))
    await WallClock().sleep(0.01)
    yield
    stop.set()
    await task


async def live(clock, seconds):
    """Let virtual time pass, and everybody do what they do in it."""
    for _ in range(seconds):
        clock.advance(1.0)
        await WallClock().sleep(0.002)


async def until(true, seconds=40.0):
    wall = WallClock()
    start = wall.monotonic()
    while not true():
        assert wall.monotonic() - start < seconds, "it did not happen in time"
        await wall.sleep(0.01)


def stored(database):
    """How often each reading is in the store."""
    rows = database.reader.frame(
        """SELECT value FROM sample JOIN series USING (series_id)
        WHERE signal = 'generation_tokens_total'"""
    )
    return Counter(int(row[0]) for row in rows.rows())


async def kill(folder, copy, source):
    """What kill -9 leaves is what the kernel has: a copy taken while the agent runs.

    A page that is being read at that moment is nobody's yet, so none is.
    """
    await WallClock().sleep(0.1)
    shutil.copytree(folder, copy)
    (copy / "lock").unlink()
    return source.read


async def test_ten_minutes_without_a_server_and_two_kills(tmp_path, clock, database, client):
    """0 rows lost, 0 twice: the spool carries what was read over the outage and over both kills."""
    way = ToApp(client)
    source = Counting(clock)
    folder = tmp_path / "spool0"
    agent = make(clock, folder, way, source)
    async with running(agent):
        await live(clock, 20)
        await until(lambda: stored(database))
        way.swallows_answers = True  # the last thing the server does is to commit, unheard
        await live(clock, 10)
        way.reachable, way.swallows_answers = False, False
        await live(clock, 200)
        killed_after = await kill(folder, tmp_path / "spool1", source)
    source.read = killed_after
    clock.advance(3)  # nobody is back in no time
    agent = make(clock, tmp_path / "spool1", way, source)
    async with running(agent):
        await live(clock, 200)
        killed_after = await kill(tmp_path / "spool1", tmp_path / "spool2", source)
    source.read = killed_after
    clock.advance(3)  # nobody is back in no time
    agent = make(clock, tmp_path / "spool2", way, source)
    async with running(agent):
        await live(clock, 200)
        assert agent.vitals.document(10)["spool"]["rows"] > 200
        way.reachable = True
        await live(clock, 60)
        await until(lambda: agent.spool.stats().records <= 2)
    assert source.read > 120
    assert stored(database) == Counter(range(1, source.read + 1))
    assert agent.drops.totals() == {}
    url = database.reader.scalar("SELECT min(url) FROM target WHERE url LIKE '%8000%'")
    assert url == "agent://n1/http://localhost:8000/metrics"


async def test_a_spool_that_fills_drops_the_oldest_and_the_server_hears_of_it(
    tmp_path, clock, database, client
):
    """Back-pressure: reading goes on, the oldest rows go, and Admin's tables say how many."""
    way = ToApp(client)
    way.reachable = False
    agent = make(clock, tmp_path / "spool", way, Counting(clock), spool_max_age_seconds=60.0)
    async with running(agent):
        await live(clock, 300)
        assert agent.spool.stats().rows < 400
        way.reachable = True
        await live(clock, 60)
        await until(lambda: agent.spool.stats().records <= 2)
        await live(clock, 20)
    lost = sum(agent.drops.totals().values())
    assert lost > 100
    await until(lambda: database.reader.scalar("SELECT count(*) FROM ingest_drop"))
    told = database.reader.scalar("SELECT sum(dropped_count) FROM ingest_drop")
    assert told == lost
    (row,) = client.get("/api/v1/agents").json()["rows"]
    assert "rows dropped" in row["why"]


async def test_gpus_faults_and_the_agent_itself_arrive(tmp_path, clock, database, client):
    """A node's cards, their faults and the agent's own numbers are rows like any other."""
    nvml = FakeNvml([FakeCard()])
    nvml.xid(0, 79)
    agent_settings = AgentSettings(
        host=False, server="http://x", name="n1", spool_folder=str(tmp_path / "s")
    )
    config = AgentConfig(agent_settings, ScrapeSettings())
    agent = Agent(config, clock, "0.1.0", Sources(config, clock, nvml))
    agent.delivery._posters, agent._heart._poster = (ToApp(client),), ToApp(client)
    async with running(agent):
        for _ in range(20):
            await live(clock, 1)
            await WallClock().sleep(0.02)
    scalar = database.reader.scalar
    assert scalar("SELECT count(*) FROM gpu_fault WHERE kind = 'xid'") == 1
    assert scalar("SELECT engine_version FROM target WHERE url LIKE 'gpu://%'") == "580.95.05"
    assert scalar("SELECT count(*) FROM series WHERE signal = 'gpu_power_watts'") == 1
    assert scalar("SELECT count(*) FROM series WHERE signal = 'agent_waiting_rows'") == 1
    assert nvml.calls[-1] == "nvmlShutdown"


def run_agent(*words, **more):
    return subprocess.run(
        [sys.executable, "-m", "servescope", "agent", *words],
        capture_output=True, text=True, timeout=60, **more,
    )  # fmt: skip


def test_looking_without_a_server_loads_nothing_heavy(tmp_path):
    """`--once --print` reads this host and carries no database, no frames and no web server.

    pydantic comes with Typer, and only with that.
    """
    code = (
        "import sys\nfrom servescope.cli.main import main\n"
        "code = main(['agent', '--once', '--print'])\n"
        f"print('loaded', [m for m in {HEAVY!r} if m in sys.modules])\nsys.exit(code)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert told.returncode == 0, told.stderr
    assert "node_cpu_seconds_total" in told.stdout
    assert told.stdout.splitlines()[-1] == "loaded []"


def test_the_whole_agent_loads_nothing_heavy():
    """Neither does what only a run needs: delivery, spool, OTLP door, configuration."""
    code = (
        "import sys\nimport servescope.cli.agent, collector.agent.agent\n"
        "import collector.http_connection, collector.agent.otlp_door, pynvml\n"
        f"print([m for m in {(*HEAVY, 'pydantic')!r} if m in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "there is no server to report to"),
        (("--server", "ftp://x"), 2, "is no address of a server"),
        (("--server", "x", "--target", "nfs://y"), 2, "cannot scrape nfs://"),
        (("--server", "x", "--name", "a b"), 2, "cannot name an agent"),
        (("--server", "x", "--config", "/none.toml"), 2, "cannot be read"),
        (("--server", "x", "--otlp", "0.0.0.0:4318"), 2, "on loopback"),
        (("--server", "http://127.0.0.1:1", "--once"), 4, "it stays in"),
        (("--target", "http://127.0.0.1:1", "--once", "--print"), 3, "cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, words, code, says):
    """Each mistake ends with its exit code and one line that says what to do."""
    spool = ("--spool", str(tmp_path / "spool")) if "--print" not in words else ()
    told = run_agent(*words, *spool, cwd=tmp_path)
    assert told.returncode == code, told.stderr
    assert says in told.stderr.splitlines()[-1]
    assert "Traceback" not in told.stderr


def test_json_is_one_document(tmp_path):
    """For programs: the same readings, or the error, as JSON on stdout."""
    told = json.loads(run_agent("--once", "--print", "--json", cwd=tmp_path).stdout)
    assert told["schema"] == "servescope.agent/1"
    assert told["data"]["targets"][0]["outcome"] == "ok"
    assert "error" in json.loads(run_agent("--json", cwd=tmp_path).stdout)
    dead = ("--target", "http://127.0.0.1:1", "--once", "--print", "--json")
    told = run_agent(*dead, cwd=tmp_path)
    assert told.returncode == 3
    targets = json.loads(told.stdout)["data"]["targets"]
    assert "unreachable" in {target["outcome"] for target in targets}


def test_sigterm_ends_it_cleanly(tmp_path):
    """Without a server it stops at once, keeps what it read, and says so by its exit code."""
    (tmp_path / "agent.toml").write_text(
        '[agent]\nserver = "http://127.0.0.1:1"\nbatch_seconds = 0\n'
        "[collector]\nscrape_interval_seconds = 0.2\n"
    )
    words = ("--config", str(tmp_path / "agent.toml"), "--spool", str(tmp_path / "spool"))
    process = subprocess.Popen(
        [sys.executable, "-m", "servescope", "agent", *words],
        stderr=subprocess.PIPE, text=True, cwd=tmp_path, env={**os.environ},
    )  # fmt: skip
    assert "Ctrl-C stops" in process.stderr.readline()
    while "not_delivered" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 0, rest
    assert list((tmp_path / "spool").glob("*.segment"))


@pytest.mark.slow
def test_real_processes_killed(tmp_path):
    """Server and agent killed for real, spans and scrapes in flight: 0 lost, 0 twice."""
    path = ROOT / "benchmarks" / "agent_faults.py"
    spec = importlib.util.spec_from_file_location("agent_faults", path)
    faults = importlib.util.module_from_spec(spec)
    sys.modules["agent_faults"] = faults
    spec.loader.exec_module(faults)
    found = faults.play(tmp_path, seed=20260131, away_seconds=4.0)
    assert found.good, vars(found)
    assert found.spans > 20
