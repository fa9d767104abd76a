"""Engines that go on running: vLLM instances that sleep, models that a router unloads."""

import contextlib
import json
import os
import signal
import socket
import subprocess

import httpx2
import pytest

from controller.actuators.careful import Careful, Patience
from controller.actuators.check import World, check_actuator
from controller.actuators.doubles.llama_api import FakeLlamaRouter
from controller.actuators.doubles.vllm_api import FakeVllm
from controller.actuators.llama_router import LlamaRouter, RouterPool, RouterSettings
from controller.actuators.vllm_sleep import VllmPool, VllmSettings, VllmSleep
from servescope.live import obtain, tiny_model
from store.clock import WallClock
from store.errors import ControllerError

HASTY = Patience(limit_seconds=2.0, told_back_seconds=0.3, pause_seconds=0.02)
PATIENT = Patience(limit_seconds=30.0, told_back_seconds=10.0, pause_seconds=0.05)
AT_ONCE = {"leave_seconds": 0.0, "drain_seconds": 0.0}
LIMIT = 30.0


async def until(true, limit_seconds=LIMIT):
    """Wait until it is true."""
    clock = WallClock()
    begun = clock.monotonic()
    while not await true():
        assert clock.monotonic() - begun < limit_seconds, "it did not happen in time"
        await clock.sleep(0.05)


async def drained(actuator, pool="chat"):
    """Wait until nothing is on its way out."""

    async def none():
        return not (await actuator.read(pool)).draining

    await until(none)


@pytest.fixture
def instances():
    """Four vLLM instances, the first of them awake."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(FakeVllm(number == 0)) for number in range(4)]


@pytest.fixture
async def vllm(instances, tmp_path):
    """Makes actuators of them, and closes them."""
    all_made = []

    def made(patience=PATIENT, **pool):
        urls = tuple(one.web.url for one in instances)
        settings = VllmSettings(
            {"chat": VllmPool(urls, **{**AT_ONCE, **pool})},
            endpoints_file=str(tmp_path / "endpoints.json"),
            answer_seconds=20.0,
        )
        all_made.append(Careful(VllmSleep(settings, WallClock()), WallClock(), patience))
        return all_made[-1]

    yield made
    for one in all_made:
        await one.aclose()


def everywhere(instances, name, on_value, off_value):
    """A switch of a world that sets an attribute of every instance."""

    def switch(on):
        for one in instances:
            setattr(one, name, on_value if on else off_value)

    return switch


async def test_sleeping_instances_keep_the_contract(instances, vllm):
    """Every promise; what is on its way to sleep does not count as wanted."""
    made = []

    def make():
        made.append(vllm(HASTY))
        return made[-1]

    def told():
        drains = made[-1].platform._drains
        return sum(one.awake and one.web.url not in drains for one in instances)

    def others(number):
        for index, one in enumerate(instances):
            one.awake = index < number

    def hangs(on):
        for one in instances:
            one.web.hang(on)

    world = World(
        "chat",
        told,
        by_others=others,
        refuses=everywhere(instances, "dev_mode", False, True),
        hangs=hangs,
        lies=everywhere(instances, "lies", True, False),
        unreadable=everywhere(instances, "status", 500, 200),
    )
    assert len(await check_actuator(make, world)) == 8


async def test_an_instance_sleeps_when_its_requests_are_over(instances, vllm, tmp_path):
    """It leaves the endpoints at once, and nothing that runs is aborted."""
    actuator = vllm(leave_seconds=0.05, drain_seconds=20.0)
    await actuator.apply("chat", 2, "d1")
    last = instances[1]
    last.running = 3
    made = await actuator.apply("chat", 1, "d2")
    assert made.outcome == "applied"
    assert "1 of them finish their requests first" in made.text
    written = json.loads((tmp_path / "endpoints.json").read_text())
    assert written["pools"]["chat"] == [{"url": instances[0].web.url}]
    assert (await actuator.read("chat")).draining == 1
    assert last.awake
    last.running = 0
    await drained(actuator)
    assert (last.awake, last.aborted) == (False, 0)


async def test_one_on_its_way_to_sleep_is_called_back(instances, vllm):
    """Without asking it anything: it never slept."""
    actuator = vllm(leave_seconds=10.0, drain_seconds=10.0)
    await actuator.apply("chat", 2, "d1")
    await actuator.apply("chat", 1, "d2")
    made = await actuator.apply("chat", 2, "d3")
    assert made.outcome == "applied"
    assert [one.awake for one in instances] == [True, True, False, False]
    assert (await actuator.read("chat")).draining == 0


async def test_a_dead_instance_is_passed_over(instances, vllm):
    """Another one is woken in its place, and the outcome says so."""
    instances[1].status = 500
    actuator = vllm()
    made = await actuator.apply("chat", 2, "d1")
    assert made.outcome == "applied"
    assert "500" in made.text
    assert [one.awake for one in instances] == [True, False, True, False]
    made = await actuator.apply("chat", 5, "d2")
    assert made.outcome == "refused"
    assert "4 instances" in made.text


async def test_without_dev_mode_it_says_what_to_set(instances, vllm):
    """vLLM answers 404 to routes it was not started with."""
    everywhere(instances, "dev_mode", False, True)(True)
    made = await vllm().apply("chat", 2, "d1")
    assert "VLLM_SERVER_DEV_MODE=1" in made.text


@pytest.fixture
def router():
    """A llama.cpp router with two models."""
    with FakeLlamaRouter() as found:
        yield found


def llama(url, patience=PATIENT, **pool):
    """An actuator of the model `tiny`."""
    given = RouterPool("tiny", **{**AT_ONCE, **pool})
    settings = RouterSettings({"chat": given}, url=url, answer_seconds=20.0)
    return Careful(LlamaRouter(settings, WallClock()), WallClock(), patience)


async def test_models_keep_the_contract(router):
    """Every promise, with 0 and 1 as the only numbers."""
    made = []

    def make():
        made.append(llama(router.web.url, HASTY))
        return made[-1]

    def told():
        leaving = "tiny" in made[-1].platform._drains
        return int(router.models["tiny"] == "loaded" and not leaving)

    def others(number):
        router.models["tiny"] = "loaded" if number else "unloaded"

    def refuses(on):
        router.key = "secret" if on else ""

    world = World(
        "chat",
        told,
        numbers=(1, 0),
        by_others=others,
        refuses=refuses,
        hangs=router.web.hang,
        lies=lambda on: setattr(router, "lies", on),
        unreadable=lambda on: setattr(router, "status", 503 if on else 200),
    )
    assert len(await check_actuator(make, world)) == 8


async def test_a_model_is_unloaded_when_its_requests_are_over(router):
    """And called back when it is wanted again before."""
    router.models["tiny"] = "loaded"
    router.running = 1
    actuator = llama(router.web.url, leave_seconds=0.0, drain_seconds=20.0)
    made = await actuator.apply("chat", 0, "d1")
    assert made.outcome == "applied"
    assert "finishes its requests" in made.text
    assert (await actuator.read("chat")).draining == 1
    assert (await actuator.apply("chat", 1, "d2")).outcome == "applied"
    assert router.models["tiny"] == "loaded"
    await actuator.apply("chat", 0, "d3")
    router.running = 0
    await drained(actuator)
    assert router.models["tiny"] == "unloaded"
    assert "once or not at all" in (await actuator.apply("chat", 2, "d4")).text
    await actuator.aclose()


async def test_a_model_that_is_not_there_is_told(router):
    """By name."""
    del router.models["tiny"]
    actuator = llama(router.web.url)
    with pytest.raises(ControllerError, match="no model 'tiny'"):
        await actuator.read("chat")
    await actuator.aclose()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def real_router(tmp_path):
    """llama-server as a router of one model; skips where there is none."""
    found = obtain.find()
    if found is None:
        pytest.skip("no llama-server: `make engine` builds one in minutes")
    model = tiny_model.write(obtain.cache_folder() / "model" / "servescope-tiny.gguf")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny.gguf").symlink_to(model)
    port = free_port()
    started = subprocess.Popen(
        [found, "--models-dir", tmp_path / "models", "--no-models-autoload", "--host", "127.0.0.1",
         "--port", str(port), "--metrics", "-c", "4096", "-np", "2", "-t", "1", "--no-webui"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


@pytest.mark.engine
async def test_the_real_router_loads_and_unloads(real_router):
    """A running answer is finished before its model goes; without it requests are refused."""
    actuator = llama(real_router, leave_seconds=0.1, drain_seconds=20.0)

    async def ready(count):
        try:
            return (await actuator.read("chat")).ready == count
        except ControllerError:
            return False

    await until(lambda: ready(0))
    made = await actuator.apply("chat", 1, "up")
    assert made.outcome == "applied", made.text
    await until(lambda: ready(1))
    body = {"model": "tiny", "prompt": "a queue", "max_tokens": 300, "ignore_eos": True}
    async with httpx2.AsyncClient(base_url=real_router, timeout=30.0, trust_env=False) as client:
        async with client.stream(
            "POST", "/v1/completions", json={**body, "stream": True}
        ) as answer:
            lines = answer.aiter_lines()
            assert (await anext(lines)).startswith("data: ")
            made = await actuator.apply("chat", 0, "down")
            assert made.outcome == "applied", made.text
            left = [line async for line in lines if line.startswith("data: {")]
        assert '"finish_reason":"length"' in left[-1]
        await drained(actuator)
        assert (await actuator.read("chat")).wanted == 0
        assert (await client.post("/v1/completions", json=body)).status_code >= 400
    await actuator.aclose()


@pytest.fixture
def real_vllm():
    """A vLLM that can sleep; skips unless both variables are set.

    On a processor it refuses `--enable-sleep-mode`, and sleeps and wakes without it.
    """
    program, model = (os.environ.get(f"SERVESCOPE_{n}") for n in ("VLLM", "MODEL_FOLDER"))
    if not program or not model:
        pytest.skip("set SERVESCOPE_VLLM to the vllm command, SERVESCOPE_MODEL_FOLDER to a model")
    port = free_port()
    started = subprocess.Popen(
        [program, "serve", model, "--served-model-name", "tiny", "--host", "127.0.0.1",
         "--port", str(port), "--max-model-len", "1024", "--enforce-eager", "--max-num-seqs", "4"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "VLLM_SERVER_DEV_MODE": "1", "HF_HUB_OFFLINE": "1",
             "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"},
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}", started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


@pytest.mark.engine
@pytest.mark.slow
async def test_the_real_vllm_sleeps_and_wakes(real_vllm):
    """It tells itself that it sleeps, and answers again after waking."""
    url, process = real_vllm
    settings = VllmSettings({"chat": VllmPool((url,), **AT_ONCE)})
    actuator = Careful(VllmSleep(settings, WallClock()), WallClock(), Patience(60.0, 20.0, 0.2))

    async def awake():
        assert process.poll() is None, "vLLM ended while starting"
        try:
            return (await actuator.read("chat")).ready == 1
        except ControllerError:
            return False

    await until(awake, 400.0)
    made = await actuator.apply("chat", 0, "down")
    assert made.outcome == "applied", made.text
    await drained(actuator)
    assert (await actuator.read("chat")).wanted == 0
    made = await actuator.apply("chat", 1, "up")
    assert made.outcome == "applied", made.text
    body = {"model": "tiny", "prompt": "a queue", "max_tokens": 8, "ignore_eos": True}
    async with httpx2.AsyncClient(base_url=url, timeout=60.0, trust_env=False) as client:
        answer = await client.post("/v1/completions", json=body)
    assert answer.json()["usage"]["completion_tokens"] == 8
    await actuator.aclose()
