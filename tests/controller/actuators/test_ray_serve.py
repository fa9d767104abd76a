"""Ray Serve's external scaling: against recorded answers, and against the real thing where it is.

The real one is looked for at `SERVESCOPE_RAY` (the `ray` command), then in the cache folder.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import httpx2
import pytest

from controller.actuators.careful import Careful, Patience
from controller.actuators.check import World, check_actuator
from controller.actuators.doubles.ray_api import FakeRayServe
from controller.actuators.ray_serve import RayPool, RayServe, RaySettings
from servescope.live import obtain
from store.clock import WallClock
from store.errors import ControllerError

HASTY = Patience(limit_seconds=2.0, told_back_seconds=0.3, pause_seconds=0.02)
POOLS = {"chat": RayPool("Echo", "llm")}
NO_RAY = """no Ray Serve: python -m venv ~/.cache/servescope/ray &&
~/.cache/servescope/ray/bin/pip install 'ray[serve]', or set SERVESCOPE_RAY"""


@pytest.fixture
def api():
    """Ray with one deployment."""
    with FakeRayServe() as found:
        yield found


@pytest.fixture
async def make(api):
    """Makes actuators of it, and closes them."""
    all_made = []

    def made():
        settings = RaySettings(POOLS, url=api.web.url, answer_seconds=20.0)
        all_made.append(Careful(RayServe(settings, WallClock()), WallClock(), HASTY))
        return all_made[-1]

    yield made
    for one in all_made:
        await one.aclose()


async def test_it_keeps_the_contract(api, make):
    """Every promise, over a real socket."""
    world = World(
        "chat",
        lambda: api.target,
        settle=lambda: setattr(api, "running", api.target),
        by_others=lambda number: setattr(api, "target", number),
        refuses=lambda on: setattr(api, "external", not on),
        hangs=api.web.hang,
        lies=lambda on: setattr(api, "lies", on),
        unreadable=lambda on: setattr(api, "status", 503 if on else 200),
    )
    assert len(await check_actuator(make, world)) == 8


async def test_replicas_are_told_by_state(api, make):
    """Running ones serve; the others start or leave."""
    actuator = make()
    await actuator.apply("chat", 3, "d1")
    scale = await actuator.read("chat")
    assert (scale.wanted, scale.ready, scale.starting, scale.draining) == (3, 1, 2, 0)
    api.running, api.target = 3, 2
    scale = await actuator.read("chat")
    assert (scale.ready, scale.starting, scale.draining) == (2, 0, 1)


async def test_a_deployment_without_external_scaling_is_refused_with_the_reason(api, make):
    """Ray's own words say what to set."""
    api.external = False
    made = await make().apply("chat", 2, "d1")
    assert made.outcome == "refused"
    assert "external_scaler_enabled" in made.text


async def test_what_is_not_there_is_told(api):
    """Application and deployment by name."""
    for pool, told in (
        (RayPool("Echo", "other"), "no application 'other'"),
        (RayPool("Other", "llm"), "has no 'Other'"),
    ):
        platform = RayServe(RaySettings({"chat": pool}, url=api.web.url), WallClock())
        with pytest.raises(ControllerError, match=told):
            await Careful(platform, WallClock()).read("chat")
        await platform.aclose()


APP = """
import asyncio
from ray import serve

@serve.deployment(ray_actor_options={"num_cpus": 0.05}, max_ongoing_requests=4)
class Echo:
    async def __call__(self, request):
        await asyncio.sleep(0.05)
        return {"ok": True}

app = Echo.bind()
"""


def ray_command():
    """The `ray` program; skips when there is none."""
    named = os.environ.get("SERVESCOPE_RAY")
    found = Path(named) if named else obtain.cache_folder() / "ray" / "bin" / "ray"
    if not found.exists():
        pytest.skip(NO_RAY)
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def ray(tmp_path):
    """A Ray cluster of its own with one application; ended by its own session."""
    command = ray_command()
    (tmp_path / "app.py").write_text(APP)
    dashboard = free_port()
    environment = {
        **os.environ,
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path),
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    log = (tmp_path / "log").open("wb")
    short = tempfile.mkdtemp(prefix="ray")  # paths of its sockets must not be long
    started = subprocess.Popen(
        [command, "start", "--head", "--block", "--dashboard-host=127.0.0.1",
         f"--dashboard-port={dashboard}", f"--port={free_port()}", "--num-cpus=2",
         f"--ray-client-server-port={free_port()}", f"--metrics-export-port={free_port()}",
         f"--temp-dir={short}", "--object-store-memory=100000000"],
        stdout=log, stderr=log, start_new_session=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        end_session(started)
        log.close()
        shutil.rmtree(short, ignore_errors=True)


def end_session(process):
    """End all processes of a session, by number."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) == process.pid:
                    os.kill(int(entry.name), signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue


async def until(true, limit_seconds=240.0):
    """Wait until it is true; a cluster has its own pace."""
    clock = WallClock()
    begun = clock.monotonic()
    while not await true():
        assert clock.monotonic() - begun < limit_seconds, "it did not happen in time"
        await clock.sleep(0.3)


async def deploy(url):
    """Put the application there and wait until it runs."""
    told = {
        "http_options": {"host": "127.0.0.1", "port": free_port()},
        "applications": [
            {
                "name": "llm",
                "route_prefix": "/",
                "import_path": "app:app",
                "external_scaler_enabled": True,
                "deployments": [{"name": "Echo", "num_replicas": 1}],
            }
        ],
    }
    async with httpx2.AsyncClient(base_url=url, timeout=30.0, trust_env=False) as client:

        async def put():
            try:
                answer = await client.put("/api/serve/applications/", json=told)
            except httpx2.HTTPError:
                return False
            return answer.status_code == 200

        await until(put)


@pytest.mark.engine
@pytest.mark.slow
async def test_the_real_ray_serve_is_scaled(ray):
    """One to three replicas and back; what others change is a conflict."""
    await deploy(ray)
    platform = RayServe(RaySettings(POOLS, url=ray), WallClock())
    actuator = Careful(platform, WallClock(), Patience(60.0, 20.0, 0.2))

    async def ready(count):
        try:
            return (await actuator.read("chat")).ready == count
        except ControllerError:
            return False

    await until(lambda: ready(1))
    try:
        seen = await actuator.read("chat")
        assert seen.wanted == 1
        made = await actuator.apply("chat", 3, "up", seen.version)
        assert made.outcome == "applied", made.text
        assert (await actuator.apply("chat", 3, "up")).outcome == "unchanged"
        await until(lambda: ready(3))
        made = await actuator.apply("chat", 1, "late", seen.version)
        assert made.outcome == "conflict"
        made = await actuator.apply("chat", 1, "down")
        assert made.outcome == "applied", made.text
        await until(lambda: ready(1))
        missing = Careful(RayServe(RaySettings({"a": RayPool("No", "llm")}, url=ray), WallClock()),
                          WallClock())  # fmt: skip
        with pytest.raises(ControllerError, match="has no 'No'"):
            await missing.read("a")
        await missing.aclose()
    finally:
        await actuator.aclose()
