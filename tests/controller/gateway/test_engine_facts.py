"""What engines say of their own size, as each of them writes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.gateway.doubles.engine import Engine, running, whole
from controller.gateway.engine_facts import UNKNOWN, Facts, facts, of_vllm
from controller.gateway.fleet import Pace
from controller.gateway.http.asking import Asked

PAGES = Path(__file__).parents[2] / "data" / "pages"
LLAMA = {"total_slots": 4, "default_generation_settings": {"n_ctx": 2_048}}
PART = {"effective_max_running_requests_per_dp": 48, "memory_usage": {"token_capacity": 4_096}}
SGLANG = {"max_total_num_tokens": 4_096, "dp_size": 2, "internal_states": [PART, PART]}
TGI = {"max_batch_total_tokens": 30_000, "max_concurrent_requests": 128, "max_batch_size": 20}
VLLM = (
    b'vllm:cache_config_info{engine="0",block_size="16",effective_attention_block_size="128",'
    b'num_gpu_blocks="1000",swap="None"} 1.0\n'
    b'vllm:cache_config_info{engine="1",block_size="16",num_gpu_blocks="1000"} 1.0\n'
)


def engine(**pages: bytes):
    """Answers these paths with 200, all others with 404."""
    asked: list[str] = []

    async def get(path: str) -> Asked:
        asked.append(path)
        body = pages.get(path.strip("/"))
        return Asked(404) if body is None else Asked(200, body)

    return get, asked


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("props", json.dumps(LLAMA).encode(), Facts(4, 8_192)),
        ("props", b'{"total_slots": 4}', Facts(4, None)),
        ("server_info", json.dumps(SGLANG).encode(), Facts(96, 8_192)),
        ("get_server_info", b'{"max_total_num_tokens": 4096}', Facts(None, 4_096)),
        ("info", json.dumps(TGI).encode(), Facts(20, 30_000)),
        ("metrics", VLLM, Facts(None, 16_000)),
        ("metrics", VLLM.replace(b"vllm:", b"vllm_").replace(b"1000", b"None"), UNKNOWN),
        ("props", b'{"total_slots": -1, "default_generation_settings": []}', UNKNOWN),
        ("server_info", b'{"max_total_num_tokens": 1e400, "internal_states": 3}', UNKNOWN),
        ("info", b'{"max_batch_total_tokens": true}', UNKNOWN),
        ("props", b"\xff[[[", UNKNOWN),
    ],
)
async def test_each_engine_tells_in_its_own_way(path: str, body: bytes, found: Facts) -> None:
    """Nonsense is nothing."""
    get, _ = engine(**{path: body})
    assert await facts(get) == found


@pytest.mark.parametrize("page", ["vllm_0.32.0.txt", "vllm_0.32.0_dp2_spec_lora.txt"])
def test_pages_of_real_engines_are_read(page: str) -> None:
    """As they were written down."""
    found = of_vllm((PAGES / page).read_bytes())
    assert found.seats is None
    assert found.cache_tokens is not None
    assert found.cache_tokens % 16 == 0


async def test_an_engine_that_does_not_answer_is_asked_no_further() -> None:
    """Unknown for now, which is not the same as that it does not say."""
    asked = []

    async def get(path: str) -> Asked:
        asked.append(path)
        return Asked(problem="does not answer")

    assert await facts(get) is None
    assert asked == ["/props"]


async def test_it_is_asked_again_when_it_came_back_and_what_somebody_said_counts(gateway) -> None:
    """A restarted engine may have another size, or model; a setting wins over what it says."""
    one, other, learnt = Engine(), Engine(), Pace(1e-4, 0.02, 0.0)
    for each in (one, other):
        each.pages["/props"] = whole(LLAMA)
    async with running(one), gateway(one, probe_seconds=0.05) as made:
        instance = made.made.gate.instances["e0"]
        first = instance.seats, instance.cache_tokens
        instance.pace, instance.is_pace_learnt = learnt, True
        one.pages["/props"] = whole({**LLAMA, "total_slots": 2})
        one.health = whole({"error": "loading"}, "503 Service Unavailable")
        while instance.state == "ready":
            await made.made.clock.sleep(0)
        one.models = ("other",)
        one.health = whole({"status": "ok"})
        while instance.state != "ready":
            await made.made.clock.sleep(0)
        then = instance.seats, instance.cache_tokens
    async with running(other), gateway(other, cache_tokens=500, pace=(1e-4, 0.02, 0.0)) as made:
        told = made.made.gate.instances["e0"]
    assert first == (4, 8_192)
    assert then == (2, 4_096)
    assert (instance.models, instance.pace) == ({"other"}, None)
    assert (told.seats, told.cache_tokens) == (4, 500)
    assert told.pace is not None
    assert not told.is_pace_learnt


async def test_an_engine_that_wants_a_key_is_asked_with_it(gateway) -> None:
    """As vLLM with `--api-key`, whose models nobody else may see."""
    locked = Engine(key="sk-1")
    locked.pages["/props"] = whole(LLAMA)
    async with running(locked), gateway(locked, upstream_api_key="sk-1") as made:
        instance = made.made.gate.instances["e0"]
        assert instance.models == {"tiny"}
        assert instance.cache_tokens == 8_192
        assert "sk-1" not in repr(made.made.health._settings)
    async with running(locked), gateway(locked) as made:
        assert not made.made.gate.instances
