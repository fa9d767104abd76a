"""The socket that clients come to."""

from __future__ import annotations

import socket

from servescope.settings import split_listen
from store.errors import ConfigError


def bind(listen: str, setting: str) -> socket.socket:
    """Bound, not yet listening: taken before anything else starts.

    Args:
        listen: HOST:PORT; port 0 lets the system choose.
        setting: what the address was set by.

    Raises:
        ConfigError: it is no such address, or is taken.
    """
    try:
        host, port = split_listen(listen)
    except ValueError:
        raise ConfigError(
            f"'{listen}' is no HOST:PORT", where=setting, hint="write it as 127.0.0.1:8300"
        ) from None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends small parts at once.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise ConfigError(
            f"cannot listen on {listen} ({error.strerror})", where=setting,
            hint="choose another HOST:PORT",
        ) from None  # fmt: skip
    return made
