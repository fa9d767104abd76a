"""What targets ask for: certificates, tokens, passwords; where the secrets are and are not."""

import asyncio
import base64
import contextlib
import logging
import os
import ssl
from pathlib import Path

import pytest

from collector.http_access import Access, Keyring, SecretError, access_from
from collector.http_fetch import Answer, Fetcher
from store.errors import ConfigError

TLS = Path(__file__).parents[1] / "data" / "tls"
CA = str(TLS / "ca.pem")
OURS = {"certificate_file": str(TLS / "client.pem"), "key_file": str(TLS / "client.key")}
SECRET = "s3cret-of-the-fleet"


@contextlib.asynccontextmanager
async def serving(*, tls=False, ask_client=False, answer=b"HTTP/1.1 200 OK\r\n"):
    """A server that answers everything alike and keeps what it was asked."""
    asked = []

    async def talk(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(answer + b"Content-Length: 4\r\nConnection: close\r\n\r\na 1\n")
            await writer.drain()
            writer.close()

    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    if ask_client:
        context.load_verify_locations(CA)
        context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if tls else 'http'}://localhost:{port}/metrics", asked
    finally:
        server.close()


async def get(url, access, fetcher=None):
    fetcher = fetcher or Fetcher()
    try:
        return await fetcher.get(
            url, timeout_seconds=3, most_bytes=1000, accept="text/plain", access=access
        )
    finally:
        await fetcher.aclose()


@pytest.mark.parametrize(
    ("access", "good"),
    [
        (Access(), False),
        (Access(ca_file=CA), True),
        (Access(ca_file=CA, server_name="engine.test"), True),
        (Access(ca_file=CA, server_name="other.test"), False),
        (Access(insecure_skip_verify=True), True),
    ],
)
async def test_certificates_are_checked_unless_told_otherwise(access, good):
    """Only a trusted certificate with the right name lets a scrape through."""
    async with serving(tls=True) as (url, _):
        got = await get(url, access)
    assert isinstance(got, Answer) is good
    if not good:
        assert got.outcome == "unreachable"
        assert "certificate not trusted" in got.error


async def test_our_own_certificate_is_shown_when_asked_for():
    """Mutual TLS: without one there is no page."""
    async with serving(tls=True, ask_client=True) as (url, _):
        assert isinstance(await get(url, Access(ca_file=CA, **OURS)), Answer)
        assert (await get(url, Access(ca_file=CA))).outcome == "unreachable"


async def test_a_token_is_read_again_when_its_file_changes(tmp_path):
    """A rotated secret needs no restart."""
    token = tmp_path / "token"
    access, keyring = Access(bearer_token_file=str(token)), Keyring()
    for number, text in enumerate(("first", "second\n")):
        token.write_text(text)
        os.utime(token, ns=(number, number))
        assert keyring.headers(access) == [("Authorization", f"Bearer {text.strip()}")]


async def test_a_password_is_sent_as_basic_authentication(tmp_path):
    """Name and password of RFC 7617, the password from its file."""
    password = tmp_path / "password"
    password.write_text(SECRET)
    async with serving() as (url, asked):
        await get(url, Access(username="ana", password_file=str(password)))
    told = base64.b64encode(f"ana:{SECRET}".encode()).decode()
    assert f"Authorization: Basic {told}\r\n" in asked[0]


@pytest.mark.parametrize("held", [None, b"", b"two\nlines", b"\xff\xfe", b"x" * 100_000])
async def test_a_file_without_one_secret_fails_the_scrape(tmp_path, held):
    """The line names the file, never what is in it; nothing is sent."""
    token = tmp_path / "token"
    if held is not None:
        token.write_bytes(held)
    async with serving() as (url, asked):
        got = await get(url, Access(bearer_token_file=str(token)))
    assert got.outcome == "unreachable"
    assert str(token) in got.error
    assert "lines" not in got.error
    assert asked == []


async def test_a_secret_is_never_logged_shown_or_sent_on(tmp_path, caplog):
    """Not in a failure, not in a repr, not to where a redirect points."""
    token = tmp_path / "token"
    token.write_text(SECRET)
    access = Access(bearer_token_file=str(token))
    caplog.set_level(logging.DEBUG)
    async with serving() as (elsewhere, asked):
        move = f"HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\n".encode()
        async with serving(answer=move) as (url, _):
            got = await get(url, access)
    assert got.outcome == "http_error"
    assert asked == []
    shown = f"{got!r} {access!r} {Keyring()!r} {caplog.text}"
    assert SECRET not in shown


@pytest.mark.parametrize(
    "told",
    [
        {"password": SECRET},
        {"bearer_token": SECRET},
        {"token_file": "x"},
        {"ca_file": 1},
        {"insecure_skip_verify": "yes"},
        {"username": "ana"},
        {"password_file": "x"},
        {"key_file": "x"},
        {"username": "a:b", "password_file": "x"},
        {"bearer_token_file": "x", "username": "ana", "password_file": "y"},
    ],
)
def test_settings_that_contradict_themselves_are_refused(told):
    """In one line that does not repeat a secret."""
    with pytest.raises(ConfigError) as refused:
        access_from(told, "discovery.toml: target 1")
    assert SECRET not in str(refused.value)
    assert refused.value.where == "discovery.toml: target 1"


@pytest.mark.parametrize("field", ["ca_file", "certificate_file"])
def test_certificates_that_cannot_be_used_are_one_line(tmp_path, field):
    """No file, and a file that is none."""
    for held in (None, b"no certificate"):
        file = tmp_path / "x.pem"
        if held:
            file.write_bytes(held)
        with pytest.raises(SecretError) as refused:
            Keyring().context(Access(**{field: str(file)}))
        assert str(file) in str(refused.value)
        assert "\n" not in str(refused.value)
