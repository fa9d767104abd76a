"""Answers get smaller for those who ask, and streams keep flowing."""

import zlib

import pytest

from servescope.api.compression import ApiCompression

API = "/api/v1"
GZIP = {"Accept-Encoding": "gzip"}
PLAIN = {"Accept-Encoding": "identity"}


def test_a_large_answer_is_smaller_for_who_asks(client):
    """The same document, in a fraction of the bytes; caches are told why it differs."""
    path = f"{API}/requests?limit=60"
    plain, packed = (client.get(path, headers=asked) for asked in (PLAIN, GZIP))
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["vary"]
    assert packed.json() == plain.json()
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 4


@pytest.mark.parametrize(
    "path",
    [f"{API}/health", f"{API}/requests?format=parquet", f"{API}/requests?format=arrow",
     f"{API}/export/requests", "/metrics"],
)  # fmt: skip
def test_what_gains_nothing_is_left_as_it_is(client, path):
    """Small answers, Parquet and Arrow go out untouched."""
    answer = client.get(path, headers=GZIP)
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers


def test_a_csv_export_arrives_whole(client):
    """A compressed stream unpacks to the same lines."""
    path = f"{API}/export/requests?format=azure"
    plain, packed = (client.get(path, headers=asked) for asked in (PLAIN, GZIP))
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == plain.text


async def test_a_stream_is_not_held_back():
    """Each part can be read when it was sent, before the next one exists."""
    seen = b""
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)

    async def send(message):
        nonlocal seen
        if message["type"] == "http.response.body":
            seen += unpack.decompress(message["body"])

    async def stream(scope, receive, send):
        headers = [(b"content-type", b"text/csv")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number in range(3):
            part = f"{number},row\n".encode()
            await send({"type": "http.response.body", "body": part, "more_body": True})
            assert seen.endswith(part)
        await send({"type": "http.response.body", "body": b""})

    scope = {"type": "http", "path": f"{API}/x", "headers": [(b"accept-encoding", b"gzip")]}
    await ApiCompression(stream, prefix="/api/")(scope, None, send)
    assert seen == b"0,row\n1,row\n2,row\n"
