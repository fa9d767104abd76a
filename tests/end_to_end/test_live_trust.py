"""A real llama-server that two scrape: its means since the previous scrape give them away.

Needs what `test_live_engine.py` needs, and is skipped like it.
"""

import importlib.util
import sys
from pathlib import Path

import httpx2
import pytest

from collector.detect import normalise_url
from collector.http_source import HttpCollector
from collector.trust.grader import TargetGrader
from store.clock import WallClock

pytestmark = pytest.mark.engine

DECODE = "decode_since_scrape_tokens_per_second"


def live_engine():
    """The module that knows how to start engines, loaded by its path: tests are no package."""
    name = "servescope_live_engine"
    if name not in sys.modules:
        path = Path(__file__).with_name("test_live_engine.py")
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


async def test_a_second_scraper_of_a_real_llama_server_is_seen():
    """Alone nothing is said; with another one between generation and our scrape it is."""
    live = live_engine()
    port = live.free_port()
    url = normalise_url(f"127.0.0.1:{port}")
    async with (
        httpx2.AsyncClient(timeout=30, trust_env=False) as client,
        live.running(live.llama_command(port), port, client, 20),
    ):
        http = HttpCollector(WallClock())
        source, grader = http.source(1, url), TargetGrader(1)
        said = {}
        for number in range(12):
            asked = {"prompt": f"{number} lamps", "n_predict": 96, "ignore_eos": True}
            await client.post(f"http://127.0.0.1:{port}/completion", json=asked)
            if number >= 8:
                await client.get(url)
            for change in grader.grade(await source.scrape(4.0)):
                said.setdefault(number, {})[change.signal] = change.verdict.grade
        await http.aclose()
    assert set(said[0].values()) == {"fresh"}
    assert not {number for number in said if 0 < number < 8}
    assert DECODE in said[9]
    assert said[9][DECODE] == "two_scrapers"
