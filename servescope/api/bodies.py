"""Request bodies that somebody else sends us: bounded, unpacked, and not waited for without end.

A door reads its body by `read_body`. What cannot be taken is a `BodyRefused`, which the API answers
as a problem document by itself; a door that speaks another dialect catches it and uses `status`.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from starlette.requests import ClientDisconnect, Request

from store.errors import ServescopeError
from store.units import bytes_text

MOST_MEMBERS = 10_000
"""Members of one gzip body; each costs time, however little is in it."""
_WINDOW_BYTES = 1 << 16

Unpack = Callable[[bytes, int], bytes]
"""Packed body, most bytes that may come out -> the body; raises BodyTooLarge or BodyUnreadable."""


class BodyRefused(ServescopeError):
    """A request body that is not taken; `status` is the answer's."""

    code = "body"
    status: ClassVar[int] = 400


class BodyUnreadable(BodyRefused):
    """It is cut off, or is not what its headers say."""

    code = "body_unreadable"


class BodySlow(BodyRefused):
    """It did not come in time."""

    code = "body_slow"
    status = 408


class BodyTooLarge(BodyRefused):
    """It is larger than the door takes, as sent or after unpacking."""

    code = "too_large"
    status = 413


class BodyUnsupported(BodyRefused):
    """Its type or its encoding is not one of the door's."""

    code = "body_unsupported"
    status = 415


class DoorFull(BodyRefused):
    """More is being taken in than the door holds at once; the sender may come again."""

    code = "door_full"
    status = 429


class Room:
    """What one door holds at the same time: requests, and bytes of their bodies as sent.

    Args:
        most_requests: requests being taken in.
        most_bytes: bytes of bodies that are here and not done with.
    """

    def __init__(self, most_requests: int, most_bytes: int) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self.requests = 0
        self.bytes = 0

    @contextmanager
    def entered(self) -> Iterator[Callable[[int], None]]:
        """A place for one request; gives what is to be told of each part of its body.

        Raises:
            DoorFull: there is no place, or (told of a part) no room for so many bytes.
        """
        if self.requests >= self._most_requests:
            raise _full(f"{self.requests} requests are being taken in")
        self.requests += 1
        held = 0

        def hold(length: int) -> None:
            nonlocal held
            if self.bytes + length > self._most_bytes:
                raise _full(f"{bytes_text(self.bytes)} are being taken in")
            held += length
            self.bytes += length

        try:
            yield hold
        finally:
            self.requests -= 1
            self.bytes -= held


def as_sent(body: bytes, most_bytes: int) -> bytes:
    """The encoding `identity`."""
    if len(body) > most_bytes:
        raise _too_large(most_bytes)
    return body


def gunzip(body: bytes, most_bytes: int) -> bytes:
    """The encoding `gzip`, one or more members; stops as soon as more than `most_bytes` come out.

    Raises:
        BodyTooLarge: more would come out.
        BodyUnreadable: it is not gzip, damaged or cut off.
    """
    parts: list[bytes] = []
    room, at, members = most_bytes, 0, 0
    member = zlib.decompressobj(wbits=31)
    while at < len(body):
        if member.eof:
            members += 1
            member = zlib.decompressobj(wbits=31)
        if members == MOST_MEMBERS:
            raise BodyUnreadable("the gzip body has too many members", hint="pack it as one")
        # By windows: behind the end of a member zlib copies whatever else it was given.
        window = body[at : at + _WINDOW_BYTES]
        try:
            part = member.decompress(window, room + 1)
        except zlib.error as error:
            raise BodyUnreadable(f"the body is not sound gzip: {error}") from error
        if len(part) > room:
            raise _too_large(most_bytes)
        room -= len(part)
        parts.append(part)
        at += len(window) - len(member.unused_data)
    if body and not member.eof:
        raise BodyUnreadable("the gzip body is cut off", hint="send it again, whole")
    return b"".join(parts)


UNPACKERS: Mapping[str, Unpack] = MappingProxyType({"identity": as_sent, "gzip": gunzip})


@dataclass(frozen=True, slots=True)
class BodyRules:
    """What a door takes.

    Attributes:
        most_bytes: largest body, both as sent and after unpacking.
        seconds: how long a whole body may take.
        idle_seconds: how long the sender may be silent within it.
        unpackers: Content-Encoding -> how it is undone; add the door's own, such as snappy.
    """

    most_bytes: int = 64 << 20
    seconds: float = 60.0
    idle_seconds: float = 10.0
    unpackers: Mapping[str, Unpack] = field(default_factory=lambda: UNPACKERS)


def media_type(request: Request) -> str:
    """The Content-Type in lower case, without its parameters; empty when there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, rules: BodyRules) -> bytes:
    """The unpacked body. Unpacking happens on a worker thread.

    Raises:
        BodyRefused: with the status to answer.
    """
    unpack = unpacker(request, rules)
    packed = await read_packed(request, rules)
    if unpack is as_sent:
        return packed
    return await asyncio.to_thread(unpack, packed, rules.most_bytes)


def unpacker(request: Request, rules: BodyRules) -> Unpack:
    """How the body's Content-Encoding is undone, known before any of the body is read.

    Raises:
        BodyUnsupported: there is no way.
    """
    name = request.headers.get("content-encoding", "").strip().lower() or "identity"
    unpack = rules.unpackers.get(name)
    if unpack is None:
        known = ", ".join(rules.unpackers)
        raise BodyUnsupported(f"Content-Encoding '{name}' is not taken here", hint=f"send {known}")
    return unpack


async def read_packed(
    request: Request, rules: BodyRules, hold: Callable[[int], None] | None = None
) -> bytes:
    """The body as it was sent; never holds more than the limit.

    Args:
        request: whose body.
        rules: limits.
        hold: told the length of each part before it is kept (`Room.entered`).

    Raises:
        DoorFull: `hold` has no room.
        BodyTooLarge: it says so in its length, or turns out to be.
        BodySlow: it did not come in time.
        BodyUnreadable: the sender went away.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > rules.most_bytes:
        raise _too_large(rules.most_bytes)
    loop = asyncio.get_running_loop()
    end = loop.time() + rules.seconds
    body = bytearray()
    try:
        async with asyncio.timeout_at(min(end, loop.time() + rules.idle_seconds)) as limit:
            async for chunk in request.stream():
                if hold is not None:
                    hold(len(chunk))
                body += chunk
                if len(body) > rules.most_bytes:
                    raise _too_large(rules.most_bytes)
                limit.reschedule(min(end, loop.time() + rules.idle_seconds))
    except TimeoutError as error:
        raise BodySlow(
            f"the body was not here in time ({bytes_text(len(body))} came)",
            hint=f"it may take {rules.seconds:g} s, with no pause above {rules.idle_seconds:g} s",
        ) from error
    except ClientDisconnect as error:
        raise BodyUnreadable(
            "the sender went away within the body", hint="send it again"
        ) from error
    return bytes(body)


def _full(held: str) -> DoorFull:
    return DoorFull(f"{held}; nothing of this one was taken", hint="send it again in a moment")


def _too_large(most_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body is larger than {bytes_text(most_bytes)}, which counts after unpacking",
        hint="send it in smaller parts",
    )
