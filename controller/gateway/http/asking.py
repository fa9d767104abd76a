"""One small question to an engine, as of its health."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from controller.gateway.http.pool import Pool

MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of it.

    Attributes:
        status: 0 where there was no answer.
        body: whole.
        problem: why there was none; "" where there was.
    """

    status: int = 0
    body: bytes = b""
    problem: str = ""


class _Taking:
    """Takes a whole answer."""

    def __init__(self, answered: asyncio.Future[Asked]) -> None:
        self._answered = answered
        self._status = 0
        self._parts: list[bytes] = []
        self._bytes = 0
        self.headers: list[tuple[bytes, bytes]] = []

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._status, self.headers = status, headers

    def body(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > MOST_BYTES:
            self._set(Asked(problem="answers too much"))
        else:
            self._parts.append(data)

    def done(self) -> None:
        self._set(Asked(self._status, b"".join(self._parts)))

    def lost(self, reason: str) -> None:
        del reason
        self._set(Asked(problem="closed the connection"))

    def _set(self, asked: Asked) -> None:
        if not self._answered.done():
            self._answered.set_result(asked)


async def ask(pool: Pool, path: str, timeout_seconds: float, key: str = "") -> Asked:
    """GET a path on a connection of its own; with a key where there is one."""
    answered: asyncio.Future[Asked] = asyncio.get_running_loop().create_future()
    try:
        outbound = await pool.connect()
    except OSError as error:
        return Asked(problem=f"cannot be reached ({error.strerror or 'no answer in time'})")
    to = pool.address
    head = f"GET {to.root}{path} HTTP/1.1\r\n".encode() + b"host: %b\r\n" % to.authority
    if key:
        head += b"authorization: Bearer %b\r\n" % key.encode()
    try:
        outbound.send(head + b"connection: close\r\naccept: */*\r\n\r\n", _Taking(answered))
        async with asyncio.timeout(timeout_seconds):
            return await answered
    except TimeoutError:
        return Asked(problem=f"does not answer {path} within {timeout_seconds:g} s")
    finally:
        outbound.close()
