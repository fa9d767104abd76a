"""One request of a client and the answer to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from controller.gateway.http.answer import Answer, Pairs, header_lines, status_line


class Wire(Protocol):
    """The connection that an exchange is on."""

    def send(self, data: bytes) -> None:
        """Write."""
        ...

    def finished(self, *, stays: bool) -> None:
        """The answer is complete."""
        ...

    def give_back(self, count: int) -> None:
        """So many bytes of a body are not kept any more."""
        ...

    def cut(self) -> None:
        """Close at once: the answer cannot be completed."""
        ...


def _nothing() -> None:
    return


class Exchange:
    """A whole request, and the way to answer it.

    The head of an answer is sent with the first bytes of its body: before those reached the
    client, another replica may still be tried.
    """

    __slots__ = (
        "_head", "_is_chunked", "_stays", "_wire", "body", "headers", "is_begun", "is_gone",
        "is_over", "method", "on_gone", "on_paused", "on_resumed", "path", "peer", "query",
        "sent_bytes", "status",
    )  # fmt: skip

    def __init__(
        self,
        wire: Wire,
        method: bytes,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        *,
        stays: bool,
        is_chunked: bool,
        peer: str = "",
    ) -> None:
        self._wire = wire
        self.method = method
        self.path, _, self.query = target.partition(b"?")
        self.headers = headers
        self.body = body
        self.peer = peer
        self.is_begun = self.is_over = self.is_gone = False
        self.status: int | None = None
        self.sent_bytes = 0
        self.on_gone: Callable[[], None] = _nothing
        self.on_paused: Callable[[], None] = _nothing
        self.on_resumed: Callable[[], None] = _nothing
        self._stays = stays
        self._is_chunked = is_chunked
        self._head = b""

    def header(self, name: bytes) -> bytes | None:
        """The last of that name (in lower case); None where there is none."""
        return next((value for key, value in reversed(self.headers) if key == name), None)

    def close_after(self) -> None:
        """No other request on this connection."""
        self._stays = False

    def drop_body(self) -> None:
        """Nobody needs it any more."""
        self._wire.give_back(len(self.body))
        self.body = b""

    def answer(self, answer: Answer) -> None:
        """Send a whole answer."""
        head = [(b"content-type", answer.content_type)] if answer.body else []
        self.begin(answer.status, [*head, *answer.headers], len(answer.body))
        self.write(answer.body)
        self.end()

    def begin(self, status: int, headers: Pairs, length: int | None) -> None:
        """Say how the answer begins; it is sent with the first bytes.

        Args:
            status: HTTP status.
            headers: without length and connection.
            length: of the body; None where nobody knows it yet.
        """
        self.status = status
        lines = [status_line(status), header_lines(headers)]
        if length is not None:
            self._is_chunked = False
            lines.append(b"content-length: %d\r\n" % length)
        elif self._is_chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        else:
            self._stays = False  # the end of the connection is the end of the body
        if not self._stays:
            lines.append(b"connection: close\r\n")
        self._head = b"".join([*lines, b"\r\n"])

    def write(self, data: bytes) -> None:
        """Send more of the body."""
        if self.is_gone or self.is_over:
            return
        self.is_begun = True
        self.sent_bytes += len(data)
        head, self._head = self._head, b""
        if self.method == b"HEAD":
            data = b""
        elif self._is_chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if head or data:
            self._wire.send(head + data if head else data)

    def end(self) -> None:
        """The answer is whole."""
        if self.is_gone or self.is_over:
            return
        if self._head:
            self.write(b"")
        self.is_over = True
        if self._is_chunked and self.method != b"HEAD":
            self._wire.send(b"0\r\n\r\n")
        self._wire.finished(stays=self._stays)

    def cut(self) -> None:
        """Close without an end, so that nobody takes the answer for whole."""
        if not (self.is_gone or self.is_over):
            self.is_over = True
            self._wire.cut()

    def gone(self) -> None:
        """The client closed the connection."""
        if not (self.is_gone or self.is_over):
            self.is_gone = True
            self.on_gone()
