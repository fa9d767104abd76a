"""What is read of requests and streams, cut at any byte; and what it says."""

from __future__ import annotations

import itertools
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.admission.base import Allowance, Refusal
from controller.gateway.doubles.engine import DONE, word
from controller.gateway.gaps import Gaps
from controller.gateway.http.limits import HttpLimits
from controller.gateway.http.reading import RequestReader
from controller.gateway.openai.errors import refused
from controller.gateway.openai.reading import CHAT, blocks, read
from controller.gateway.openai.sse import SseScanner

CUTS = st.lists(st.integers(0, 2_000), max_size=12)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data in parts."""
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]


class Room:
    """Counts the bytes of bodies that are kept."""

    def __init__(self) -> None:
        self.kept = 0

    def keeps(self, count: int) -> bool:
        self.kept += count
        return True

    def back(self, count: int) -> None:
        self.kept -= count


@settings(max_examples=60)
@given(st.binary(max_size=300), st.booleans(), CUTS)
def test_requests_are_the_same_however_they_are_cut(body, chunked, cuts):
    """Two requests sent at once are two requests, and every byte of their bodies is there."""
    if chunked:
        frame = b"transfer-encoding: chunked\r\n\r\n" + (
            b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        ) + b"0\r\n\r\n"  # fmt: skip
    else:
        frame = b"content-length: %d\r\n\r\n%b" % (len(body), body)
    data = 2 * (b"POST /v1/completions?a=b HTTP/1.1\r\nHost: x\r\nX-Up: Down\r\n" + frame)
    room = Room()
    reader = RequestReader(HttpLimits(), room.keeps, room.back)
    for piece in pieces(data, cuts):
        reader.feed(piece)
    assert reader.problem is None
    assert [request.body for request in reader.ready] == [body, body]
    assert {request.target for request in reader.ready} == {b"/v1/completions?a=b"}
    assert (b"x-up", b"Down") in reader.ready[0].headers
    assert room.kept == 2 * len(body)


@settings(max_examples=60)
@given(st.integers(500, 1_800), st.booleans(), CUTS)
def test_a_body_is_never_taken_for_headers(length, chunked, cuts):
    """However much of it comes with its end, the next request on the connection is read."""
    body = b"x" * length
    head = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % length
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (length, body) if chunked else body
    data = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n%b" % (head, sent)
    room = Room()
    reader = RequestReader(HttpLimits(head_bytes=100), room.keeps, room.back)
    for _ in range(2):
        for piece in pieces(data, cuts):
            reader.feed(piece)
        assert reader.problem is None
        assert reader.ready.popleft().body == body


@settings(max_examples=100)
@given(st.binary(max_size=500), CUTS)
def test_no_bytes_break_the_reader(data, cuts):
    """Nonsense is a problem, never an exception, and nothing of it is kept."""
    room = Room()
    reader = RequestReader(HttpLimits(), room.keeps, room.back)
    for piece in pieces(data, cuts):
        if reader.problem is None:
            reader.feed(piece)
    reader.drop()
    assert room.kept == sum(len(request.body) for request in reader.ready)


@settings(max_examples=60)
@given(st.lists(st.text(max_size=20), max_size=8), CUTS, st.sampled_from(["\n", "\r\n"]))
def test_a_stream_is_passed_on_and_counted_however_it_is_cut(words, cuts, end):
    """Byte by byte the same, whatever the words are; only those with content count."""
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9}}\n\n'
    data = b"".join(map(word, words)) + word("", "length") + usage + DONE
    data = data.replace(b"\n", end.encode())
    scanner, passed = SseScanner(), b""
    for piece in pieces(data, cuts):
        passed += scanner.feed(piece)[0]
        assert passed.endswith(b"\n") or not passed
    assert passed + scanner.tail == data
    assert scanner.tokens == sum(bool(each) for each in words)
    assert scanner.is_done
    assert scanner.told.finish_reason == "length"
    assert (scanner.told.usage.input_tokens, scanner.told.usage.output_tokens) == (5, 9)


@settings(max_examples=100)
@given(st.binary(max_size=400), CUTS)
def test_no_stream_breaks_the_scanner(data, cuts):
    """Whatever comes is passed on."""
    scanner = SseScanner()
    passed = b"".join(scanner.feed(piece)[0] for piece in pieces(data, cuts))
    assert passed + scanner.tail == data


def test_what_a_model_writes_is_not_taken_for_the_stream_s_own_words():
    """A text about JSON, quotes and all, is one token and no end."""
    scanner = SseScanner()
    scanner.feed(word('{"finish_reason":"stop","usage":{"prompt_tokens":1},"content":"x"} [DONE]'))
    assert scanner.tokens == 1
    assert not scanner.is_done
    assert scanner.told.finish_reason == ""


def test_a_line_without_an_end_is_passed_on_unread():
    """A picture in one line costs no memory without bound."""
    scanner = SseScanner()
    passed = b"".join(scanner.feed(b"data: " + b"x" * 20_000)[0] for _ in range(8))
    rest, _ = scanner.feed(b"\n" + word("a"))
    assert len(passed) > 60_000
    assert passed + rest == b"".join([b"data: " + b"x" * 20_000] * 8) + b"\n" + word("a")
    assert scanner.tokens == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["model", "messages", "prompt", "stream", "max_tokens", "n", "tools", "user", "content"]
)


@settings(max_examples=150)
@given(st.dictionaries(FIELDS, JSON) | JSON, st.sampled_from([CHAT, "/v1/completions", "/v1/x"]))
def test_no_body_breaks_the_reading_of_it(told, path):
    """Any JSON is either understood or a refusal with status 400."""
    said = read(path, json.dumps(told).encode())
    if isinstance(said, Refusal):
        assert said.status == 400
    else:
        assert said.input_tokens >= 1


def test_prompts_are_measured_whatever_their_form():
    """Texts, parts and token numbers; pictures count something."""
    text = "word " * 400

    def said(content):
        told = {"model": "m", "messages": [{"role": "user", "content": content}]}
        return read(CHAT, json.dumps(told).encode())

    for content in (text, [{"type": "text", "text": text}]):
        assert 450 < said(content).input_tokens < 550
        assert len(said(content).prefix) == 2000 // 256
    assert said([{"type": "image_url"}]).input_tokens > 100
    numbers = read("/v1/completions", json.dumps({"prompt": list(range(100, 400))}).encode())
    assert numbers.input_tokens in (300, 301)


@given(st.binary(min_size=600, max_size=900), st.integers(0, 599))
def test_prompts_that_begin_alike_share_their_first_blocks(prompt, where):
    """Up to the block in which they differ, and none after it."""
    other = bytearray(prompt)
    other[where] ^= 1
    one, two = blocks("m", prompt), blocks("m", bytes(other))
    same = [a == b for a, b in zip(one, two, strict=True)]
    assert same == [number < where // 256 for number in range(len(one))]
    assert blocks("another", prompt)[0] != one[0]


@given(st.lists(st.floats(0, 150), min_size=1, max_size=50))
def test_gaps_keep_quantiles_within_a_bin(seconds):
    """The median is within 10 % of a value that is really in the middle."""
    gaps = Gaps()
    for each in seconds:
        gaps.add(each)
    middle = sorted(seconds)[(len(seconds) - 1) // 2]
    assert gaps.quantile_seconds(0.5) <= max(middle * 1.1, 1e-4)
    assert gaps.quantile_seconds(0.5) >= middle * 0.9 or middle <= 1.2e-4
    assert sum(count for _, count in gaps.bins()) == gaps.count == len(seconds)
    assert gaps.quantile_seconds(1.0) <= gaps.longest_seconds == max(seconds)


def test_a_refusal_says_when_and_what_is_left():
    """Whole seconds rounded up, milliseconds beside them, the tightest limit of each unit."""
    left = [Allowance("tokens", 100, 60, 3.0), Allowance("tokens", 10, 1, 0.5)]
    answer = refused(Refusal("tenant_tokens_per_minute", "later", "tenant"), 1.2, left)
    headers = dict(answer.headers)
    assert answer.status == 429
    assert (headers[b"retry-after"], headers[b"retry-after-ms"]) == (b"2", b"1200")
    assert headers[b"x-ratelimit-limit-tokens"] == b"10"
    assert json.loads(answer.body)["error"]["code"] == "tenant_tokens_per_minute"
    silent = dict(refused(Refusal("queue_full", "later"), None).headers)
    assert b"retry-after" not in silent
    final = dict(refused(Refusal("too_large", "never", is_final=True), 5.0).headers)
    assert final[b"x-should-retry"] == b"false"
    assert b"retry-after" not in final
