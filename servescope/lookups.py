"""Names are looked up by threads of their own: a resolver that hangs holds up nothing else."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

LOOKUPS_AT_ONCE = 16


def keep_apart(loop: asyncio.AbstractEventLoop) -> None:
    """Let `loop` look names up beside the threads that jobs and rows wait for.

    By itself asyncio takes those for both, and a lookup goes on in its thread after whoever wanted
    it has given up.
    """
    threads = ThreadPoolExecutor(LOOKUPS_AT_ONCE, "lookup")

    async def getaddrinfo(
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - asyncio's name
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        return await loop.run_in_executor(
            threads, socket.getaddrinfo, host, port, family, type, proto, flags
        )

    loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]
