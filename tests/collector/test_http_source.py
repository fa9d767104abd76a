"""Scraping over real loopback sockets: every way a target can fail is a value."""

import asyncio
import contextlib
import gzip
import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.checks import check_source
from collector.detect import base_url, normalise_url
from collector.drops import Drops
from collector.http_source import HttpCollector
from collector.model import TargetFacts
from collector.settings import ScrapeSettings
from store.clock import WallClock
from store.errors import CollectError, ServescopeError

LLAMA = b"llamacpp:requests_processing 3\nllamacpp:tokens_predicted_total 10\n"
VLLM = b'vllm:num_requests_running{engine="0",model_name="m"} 3\n'
TEXT = "text/plain; version=0.0.4"


def http(body=b"", status="200 OK", kind=TEXT, length=None, **headers):
    """The bytes of one answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Connection: close"]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Engine:
    """A server that answers each path with given bytes, or hangs when there are none."""

    def __init__(self, pages):
        self.pages = pages
        self.asked = []
        self.going = set()

    async def answer(self, reader, writer):
        self.going.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            self.asked.append(head)
            page = self.pages.get(path, http(b"{}", "404 Not Found"))
            if page is None:
                await reader.read()
            writer.write(page or b"")
            await writer.drain()
            writer.close()
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(pages, drops=None, **settings):
    """A source for /metrics of an engine with these pages, and the engine."""
    engine = Engine(pages)
    server = await asyncio.start_server(engine.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    http_collector = HttpCollector(WallClock(), ScrapeSettings(**settings), drops=drops)
    try:
        yield http_collector.source(7, f"127.0.0.1:{port}"), engine
    finally:
        await http_collector.aclose()
        server.close()
        await asyncio.gather(*engine.going)


async def scrape(page, **settings):
    async with serving({"/metrics": page}, **settings) as (source, _):
        return await source.scrape(2.0)


async def test_a_page_becomes_canonical_samples():
    """One GET brings samples, sizes and counts."""
    got = await scrape(http(LLAMA + b"broken\nllamacpp:brand_new 1\n"))
    assert (got.outcome, got.error, got.target_id) == ("ok", None, 7)
    assert {s.signal: s.value for s in got.samples} == {
        "requests_running": 3.0,
        "generation_tokens_total": 10.0,
    }
    assert (got.sample_count, got.bad_line_count, got.unknown_family_count) == (3, 1, 1)
    assert got.body_bytes == len(LLAMA) + 28


async def test_the_source_keeps_its_contract():
    """A live and a dead target both pass the shipped check."""
    async with serving({"/metrics": http(LLAMA)}) as (source, _):
        first, second = await check_source(source)
        assert first.outcome == second.outcome == "ok"
    async with serving({"/metrics": http(b"<html>502</html>")}) as (source, _):
        first, _ = await check_source(source)
        assert first.outcome == "not_metrics"


async def test_what_is_asked_for():
    """Plain text format, gzip, and the time limit."""
    async with serving({"/metrics": http(LLAMA)}) as (source, engine):
        await source.scrape(2.0)
        asked = engine.asked[0].lower()
    assert "accept: text/plain;version=0.0.4\r\n" in asked
    assert "accept-encoding: gzip\r\n" in asked
    assert "x-prometheus-scrape-timeout-seconds: 2\r\n" in asked


async def test_a_packed_page_is_unpacked():
    """gzip is understood, and the size told is that of the page."""
    got = await scrape(http(gzip.compress(LLAMA), Content_Encoding="gzip"))
    assert (got.outcome, got.body_bytes) == ("ok", len(LLAMA))


BOMB = gzip.compress(b"a 1\n" * 500_000)
FAILURES = [
    (http(b"<!DOCTYPE html><p>Bad Gateway</p>", kind="text/html"), "not_metrics"),
    (http(b"  <html></html>"), "not_metrics"),
    (http(b'{"status": "ok"}', kind="application/json"), "not_metrics"),
    (http(b""), "not_metrics"),
    (http(b"hello there, this is not it\n"), "not_metrics"),
    (http(b"no", "501 Not Implemented"), "http_error"),
    (http(b"", "302 Found", Location="/login"), "http_error"),
    (http(LLAMA, length=5000), "truncated"),
    (http(gzip.compress(LLAMA)[:-9], Content_Encoding="gzip"), "truncated"),
    (http(b"not gzip at all", Content_Encoding="gzip"), "truncated"),
    (http(LLAMA, kind="application/openmetrics-text; version=1.0.0"), "truncated"),
    (http(LLAMA, Content_Encoding="br"), "not_metrics"),
    (http(b"a 1\n" * 30_000), "too_large"),
    (http(BOMB, Content_Encoding="gzip"), "too_large"),
    (http(b"python_info 1\n"), "unsupported"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "unreachable"),
    (b"", "unreachable"),
]


@pytest.mark.parametrize(("page", "outcome"), FAILURES)
async def test_a_failure_is_a_value(page, outcome):
    """Whatever comes, there is an outcome, one line that says why, and no samples."""
    got = await scrape(page, most_body_bytes=100_000)
    assert got.outcome == outcome
    assert got.error
    assert "\n" not in got.error
    assert got.samples == ()


async def test_too_many_samples_are_refused():
    """A page within the size limit may still hold too many series."""
    page = http(b"".join(b"llamacpp:x%d 1\n" % n for n in range(50)))
    assert (await scrape(page, most_page_samples=20)).outcome == "too_large"


async def test_a_target_that_is_not_there_is_unreachable():
    """A closed port is an outcome within the time limit."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    http_collector = HttpCollector(WallClock())
    got = await http_collector.source(1, f"127.0.0.1:{port}").scrape(1.0)
    await http_collector.aclose()
    assert got.outcome == "unreachable"
    assert got.error


async def test_a_target_that_hangs_is_a_timeout():
    """The time limit holds when a target accepts and then says nothing."""
    async with serving({"/metrics": None}) as (source, _):
        got = await source.scrape(0.05)
    assert got.outcome == "timeout"
    assert "0.05 s" in got.error


async def test_llama_cpp_tells_version_and_model_once():
    """The page has no model; it is asked for on the side, and not on every scrape."""
    props = {"build_info": "b7-abc", "model_alias": "", "model_path": "x.gguf"}
    models = {"data": [{"id": "tiny"}]}
    pages = {
        "/metrics": http(LLAMA, Process_Start_Time_Unix="1234"),
        "/props": http(json.dumps(props).encode(), kind="application/json"),
        "/v1/models": http(json.dumps(models).encode(), kind="application/json"),
    }
    async with serving(pages) as (source, engine):
        first, second = await source.scrape(2.0), await source.scrape(2.0)
    assert first.facts == TargetFacts("llama.cpp", "b7-abc", "tiny")
    assert second.facts is None
    assert len(engine.asked) == 4
    assert {s.signal: s.value for s in first.samples}["engine_start_mark"] == 1234.0


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("/models/tiny-1.5b-Q4_K_M.gguf", "tiny-1.5b-Q4_K_M"),
        ("C:\\models\\Tiny.GGUF", "Tiny"),
        ("tiny.gguf", "tiny"),
        ("org/tiny", "org/tiny"),
        ("/models/.gguf", "/models/.gguf"),
    ],
)
async def test_a_model_file_is_called_by_its_stem(told, shown):
    """Without --alias llama.cpp gives the path of its file; names that are no file stay whole."""
    models = {"data": [{"id": told}]}
    pages = {
        "/metrics": http(LLAMA),
        "/props": http(b'{"build_info": "b7", "model_alias": ""}', kind="application/json"),
        "/v1/models": http(json.dumps(models).encode(), kind="application/json"),
    }
    async with serving(pages) as (source, _):
        got = await source.scrape(2.0)
    assert got.facts.model == shown


async def test_vllm_names_its_model_on_the_page():
    """Only the version has to be asked for."""
    pages = {"/metrics": http(VLLM), "/version": http(b'{"version": "0.32.0"}')}
    async with serving(pages) as (source, engine):
        got = await source.scrape(2.0)
    assert got.facts == TargetFacts("vllm", "0.32.0", "m")
    assert len(engine.asked) == 2


@pytest.mark.parametrize(
    "answer", [http(b"[" * 100_000), http(b'{"version": 5}'), http(b"[]"), None]
)
async def test_odd_answers_about_the_version_leave_it_unknown(answer):
    """An engine that does not tell is still scraped, and not asked for ever."""
    async with serving({"/metrics": http(VLLM), "/version": answer}) as (source, engine):
        first = await source.scrape(0.3)
        for _ in range(5):
            assert (await source.scrape(0.3)).outcome == "ok"
    assert first.facts == TargetFacts("vllm", None, "m")
    assert sum("/version" in asked for asked in engine.asked) <= 3


async def test_another_engine_at_the_same_address_is_noticed():
    """After an outage version and model are asked for again."""
    pages = {"/metrics": http(VLLM), "/version": http(b'{"version": "1"}')}
    async with serving(pages) as (source, _):
        await source.scrape(2.0)
        pages["/metrics"] = http(b"", "503 Service Unavailable")
        assert (await source.scrape(2.0)).facts is None
        pages |= {"/metrics": http(VLLM), "/version": http(b'{"version": "2"}')}
        assert (await source.scrape(2.0)).facts == TargetFacts("vllm", "2", "m")
        pages["/metrics"] = http(LLAMA)
        assert (await source.scrape(2.0)).facts.engine == "llama.cpp"


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("host:8000", "http://host:8000/metrics"),
        ("host", "http://host/metrics"),
        (" http://host:8000/ ", "http://host:8000/metrics"),
        (
            "https://Host/engine/metrics?model=a#x",
            "https://host/engine/metrics?model=a&autoload=false",
        ),
        ("http://[::1]:8000", "http://[::1]:8000/metrics"),
        ("10.0.0.1:8000/custom", "http://10.0.0.1:8000/custom"),
    ],
)
def test_addresses_that_people_type(typed, address):
    """Host and port are enough."""
    assert normalise_url(typed) == address
    assert normalise_url(address) == address


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ftp://host",
        "http://",
        "host:port",
        "host:99999",
        "http://u:secret@host",
        "a b:1",
        "h\0",
    ],
)
def test_addresses_that_cannot_be_scraped_are_refused(typed):
    """With a line that says how to write one, and without repeating a password."""
    with pytest.raises(CollectError) as refusal:
        normalise_url(typed)
    assert "http://host:8000" in refusal.value.hint
    assert "secret" not in str(refusal.value)


@given(st.text(max_size=40))
def test_any_address_is_read_or_refused(typed):
    """No text crashes the reading of an address, and reading twice changes nothing."""
    try:
        address = normalise_url(typed)
    except ServescopeError:
        return
    assert normalise_url(address) == address


def test_other_answers_of_the_engine_live_beside_the_page():
    """Version and model are asked for at the same base; of an odd path nothing is known."""
    assert base_url("http://h:1/metrics") == "http://h:1"
    assert base_url("http://h:1/a/metrics?x=1") == "http://h:1/a"
    assert base_url("http://h:1/metrics/") == "http://h:1"
    assert base_url("http://h:1/custom") is None


def test_closing_without_a_scrape_is_fine():
    """A collector that never scraped closes, twice."""

    async def close():
        http_collector = HttpCollector(WallClock())
        await http_collector.aclose()
        await http_collector.aclose()

    asyncio.run(close())


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("text/plain; version=0.0.4; charset=utf-8", "ok"),
        ("text/plain; version=1.0.0; escaping=allow-utf-8", "ok"),
        ("application/octet-stream", "ok"),
        ("", "ok"),
        ("TEXT/PLAIN", "ok"),
        ("application/json", "not_metrics"),
        ("text/html; charset=utf-8", "not_metrics"),
        ("image/png", "not_metrics"),
        ("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily", "not_metrics"),
    ],
)
async def test_the_type_of_an_answer_decides(kind, outcome):
    """What says to be something else is not read, however much it looks like metrics."""
    assert (await scrape(http(LLAMA, kind=kind))).outcome == outcome


async def test_what_a_page_loses_is_counted_with_an_example():
    """Bad lines and repeated series, and the good samples are kept."""
    drops = Drops()
    page = http(LLAMA + b"broken line here\nllamacpp:requests_processing 4\n")
    async with serving({"/metrics": page}, drops=drops) as (source, _):
        got = await source.scrape(2.0)
    assert {sample.signal: sample.value for sample in got.samples}["requests_running"] == 4.0
    told = {drop.reason: drop for drop in drops.take()}
    assert told["a line that cannot be read"].count == 1
    assert "line 3" in told["a line that cannot be read"].example
    assert told["a series told twice on a page"].count == 1


async def test_a_million_series_are_refused_counted_and_explained():
    """Within the size limit or not, one target cannot fill the store."""
    drops = Drops()
    body = b"".join(b'llamacpp:x{id="%d"} 1\n' % n for n in range(1_000_000))
    page = http(gzip.compress(body, 1), Content_Encoding="gzip")
    more = {"most_body_bytes": 100_000_000, "most_page_samples": 10_000, "drops": drops}
    async with serving({"/metrics": page}, **more) as (source, _):
        got = await source.scrape(10.0)
    assert got.outcome == "too_large"
    assert "10000 samples" in got.error
    assert "label" in got.error
    assert [(drop.door, drop.count) for drop in drops.take()] == [("scrape", 1)]


async def test_a_target_that_was_laid_out_differently_is_read_again():
    """Pages follow each other as they come: more series, fewer, broken ones, other engines."""
    pages = {"/metrics": http(LLAMA)}
    async with serving(pages) as (source, _):
        for body, count in (
            (LLAMA, 2),
            (LLAMA, 2),
            (LLAMA.replace(b"3", b"5"), 2),
            (LLAMA + b"llamacpp:requests_deferred 1\n", 3),
            (LLAMA + b"llamacpp:requests_deferred x\n", 2),
            (VLLM, 1),
            (LLAMA, 2),
        ):
            pages["/metrics"] = http(body)
            got = await source.scrape(2.0)
            assert (got.outcome, got.sample_count) == ("ok", count)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n", "TLS is spoken there"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "no sound HTTP"),
        (b"", "does it speak https://"),
    ],
)
async def test_who_answers_in_another_protocol_is_said(page, words):
    """Somebody answers, so the process need not be looked for."""
    assert words in (await scrape(page)).error


@pytest.mark.parametrize(
    ("url", "words"),
    [("http://127.0.0.1:1", "connection refused"), ("http://nope.invalid", "cannot be looked up")],
)
async def test_why_nobody_answers_is_said_in_words(url, words):
    """Without numbers of errors or of addresses."""
    collector = HttpCollector(WallClock())
    got = await collector.source(1, url).scrape(5.0)
    await collector.aclose()
    assert got.outcome == "unreachable"
    assert words in got.error
    assert "Errno" not in got.error
