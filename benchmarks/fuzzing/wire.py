"""The gateway's own readers: HTTP of clients and of engines, bodies, streams."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import h11

from controller.gateway.doubles.engine import ANSWER, STREAM, word
from controller.gateway.engine_facts import of_llama, of_sglang, of_tgi, of_vllm
from controller.gateway.http.client import Outbound
from controller.gateway.http.limits import HttpLimits
from controller.gateway.http.reading import RequestReader
from controller.gateway.openai.reading import CHAT, KNOWN, read
from controller.gateway.openai.sse import SseScanner
from controller.gateway.openai.usage import read_whole
from controller.gateway.proxy_orders import _told as told_order
from controller.gateway.upstream_probe import _documents
from fuzzing.target import Take, Target, same

LIMITS = HttpLimits(head_bytes=4_096, headers=20, body_bytes=16_384)
CHAT_BODY = (
    b'{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":5,"stream":true}'
)
HTTP_SEEDS = (
    b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(CHAT_BODY), CHAT_BODY),
    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: a\r\n\r\n"
    b"5;x=y\r\nhello\r\n0\r\na: b\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"HEAD /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\n"
    b"0\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)
HTTP_WORDS = (
    b"Content-Length: 5\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: 0x5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"transfer-encoding:\tchunked\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b" :",
    b"\x0b",
    b"\x00",
    b"Host: y\r\n",
    b"0\r\n\r\n",
    b"5\r\n",
    b"ffffffffffffffff\r\n",
    b"-1\r\n",
    b";a=b",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b"Expect: 100-continue\r\n",
    b" folded\r\n",
    b"Connection: keep-alive\r\n",
    b"Content-Length:\r\n",
    b"GET http://other/ HTTP/1.1\r\n",
    b"a: " + b"x" * 5_000 + b"\r\n",
)


class Room:
    """Counts the bytes of bodies that are kept."""

    def __init__(self) -> None:
        self.bytes = 0

    def keeps(self, count: int) -> bool:
        self.bytes += count
        return self.bytes <= 1 << 16

    def gives_back(self, count: int) -> None:
        self.bytes -= count


def _read_http(data: bytes, step: int) -> tuple[list[tuple[bytes, ...]], bool]:
    """Requests that a connection gave, and whether it was refused."""
    room = Room()
    reader = RequestReader(LIMITS, room.keeps, room.gives_back)
    found: list[tuple[bytes, ...]] = []
    for at in range(0, len(data), step):
        if reader.problem is not None:
            break
        reader.feed(data[at : at + step])
        while reader.ready:
            one = reader.ready.popleft()
            found.append((one.method, one.target, one.body))
            room.gives_back(len(one.body))
    refused = reader.problem is not None
    reader.drop()
    same("bytes of bodies that nobody has", room.bytes, 0)
    reader.end()
    return found, refused


def _http_made(folder: Path, ending: ExitStack) -> Take:
    del folder, ending

    def take(data: bytes) -> None:
        found, refused = _read_http(data, len(data) or 1)
        cut, cut_refused = _read_http(data, 7)
        if not refused and not cut_refused:
            same("cut into sevens", cut, found)
        _beside_h11(data, found, refused=refused)

    return take


def _beside_h11(data: bytes, found: list[tuple[bytes, ...]], *, refused: bool) -> None:
    """What both take for whole requests is the same: no request hides in another's body."""
    theirs = []
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 16)
    connection.receive_data(data)
    try:
        while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                theirs.append([event.method, event.target, b""])
            elif isinstance(event, h11.Data):
                theirs[-1][2] += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break  # the first decides: behind it h11 waits for an answer
            elif isinstance(event, h11.ConnectionClosed):
                return
    except h11.ProtocolError:
        return
    if event.__class__ is h11.EndOfMessage and found and not refused:
        same("the first request beside h11's", found[0], tuple(theirs[0]))


class _Heard:
    """Takes an answer, and looks that it comes in order."""

    def __init__(self) -> None:
        self.ends = 0

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        assert 200 <= status <= 65_535, status
        assert len(headers) <= 200

    def body(self, data: bytes) -> None:
        assert data
        assert not self.ends

    def done(self) -> None:
        self.ends += 1

    def lost(self, reason: str) -> None:
        assert reason
        self.ends += 1


def _answers_made(folder: Path, ending: ExitStack) -> Take:
    del folder, ending

    def take(data: bytes) -> None:
        for step in (len(data) or 1, 11):
            heard = _Heard()
            outbound = Outbound(lambda one: None)
            outbound.send(b"", heard)
            for at in range(0, len(data), step):
                outbound.data_received(data[at : at + step])
            outbound.connection_lost(None)
            same("ends of an answer", heard.ends, 1)
        whole, cut = SseScanner(), SseScanner()
        passed = whole.feed(data)[0] + whole.tail
        parts = b"".join(cut.feed(data[at : at + 5])[0] for at in range(0, len(data), 5))
        same("what is passed on", parts + cut.tail, passed)
        if len(data) < 32_768:
            same("what a stream told", cut.told, whole.told)
        read_whole(data)
        for learn in (of_llama, of_sglang, of_tgi, of_vllm, _documents):
            learn(data)

    return take


def _bodies_made(folder: Path, ending: ExitStack) -> Take:
    del folder, ending
    paths = sorted(KNOWN)

    def take(data: bytes) -> None:
        path, body = paths[(data[0] if data else 0) % len(paths)], data[1:]
        for one in (path, "/v1/responses"):
            said = read(one, body)
            assert said is not None
        told_order(body)

    return take


def _http_seeds(folder: Path) -> Sequence[bytes]:
    del folder
    return HTTP_SEEDS


def _answer_seeds(folder: Path) -> Sequence[bytes]:
    del folder
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}\n\n'
    return (
        ANSWER,
        STREAM,
        word("a") + usage + b"data: [DONE]\n\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ANSWER,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        b'{"data":[{"id":"m","max_model_len":4096}],"total_slots":4,"n_ctx":4096.0}',
    )


def _body_seeds(folder: Path) -> Sequence[bytes]:
    del folder
    assert CHAT in KNOWN
    return (
        b"0" + CHAT_BODY,
        b'1{"model":"m","prompt":["a",[1,2,3]],"n":2}',
        b'2{"model":"m","input":[[1,2],"x"],"user":"u"}',
        b'0{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"}],'
        b'"tool_calls":[{"id":"a"}]}],"tools":[{}]}',
    )


GATEWAY_HTTP = Target(
    "gateway-http",
    "the gateway's HTTP parser, in one piece and cut, beside h11",
    _http_seeds,
    _http_made,
    HTTP_WORDS,
)
GATEWAY_ANSWERS = Target(
    "gateway-answers",
    "what engines answer: HTTP, streams of events, usage, facts",
    _answer_seeds,
    _answers_made,
    (*HTTP_WORDS, b"data: ", b'"usage":{', b"HTTP/1.1 200 OK\r\n"),
)
GATEWAY_BODIES = Target(
    "gateway-bodies", "bodies of OpenAI requests", _body_seeds, _bodies_made, is_text=True
)
