"""Where a server listens, and how those on its own machine find it."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from pathlib import Path

from servescope.settings import is_loopback, split_listen
from store.errors import ConfigError

PORTS_TRIED = 50
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


def bind(listen: str, setting: str = "server.listen", *, is_guarded: bool = False) -> socket.socket:
    """The socket to serve on; taken before anything else starts, so that a clash costs nothing.

    Args:
        listen: HOST:PORT; port 0 lets the system choose.
        setting: what the address was set by.
        is_guarded: whether people sign in and programs show tokens.

    Raises:
        ConfigError: other machines could reach a server that asks nobody who they are, or the port
            is taken; the hint names a free one.
    """
    try:
        host, port = split_listen(listen)
    except ValueError as error:
        raise ConfigError(
            f"'{listen}' is no HOST:PORT", where=setting, hint="write it as 127.0.0.1:4318"
        ) from error
    if not is_loopback(host) and not is_guarded:
        raise ConfigError(
            f"{host} can be reached from other machines, and nobody signs in here",
            where=setting,
            hint='let people sign in: access.sign_in = "on" (docs/operating.md#access); or listen'
            " on 127.0.0.1 and use an SSH tunnel",
        )
    address = "127.0.0.1" if host == "localhost" else host
    try:
        return _listening(address, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise ConfigError(
                f"cannot listen on {listen} ({error.strerror})", where=setting,
                hint="choose another HOST:PORT",
            ) from error  # fmt: skip
        free = _next_free(address, port)
        advice = (
            f"port {free} is free: use --listen {host}:{free}, or --port {free} for the demo"
            if free
            else "choose another"
        )
        raise ConfigError(
            f"port {port} is taken by another program", where=setting, hint=advice
        ) from error


def url_of(sock: socket.socket, *, is_tls: bool = False) -> str:
    """Where the socket answers on this machine."""
    host, port = sock.getsockname()[:2]
    host = _ANYWHERE.get(host, host)
    scheme = "https" if is_tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def key_file(store: Path) -> Path:
    """Where a running server keeps what commands of its own user show; readable for them only."""
    return store.with_name(store.name + ".local-key")


def _listening(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # With the protocol named, asyncio sends small parts at once. Without it the body of an answer
    # waits for the client to confirm the head, which on a kept connection takes 40 ms.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((address, port))
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    return sock


def _next_free(address: str, port: int) -> int | None:
    for candidate in range(port + 1, min(port + PORTS_TRIED, 65_536)):
        with suppress(OSError):
            _listening(address, candidate).close()
            return candidate
    return None
