"""Neighbours that want one thing only, each a small step that is done again and again."""

from __future__ import annotations

import mmap
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

Step = Callable[[], object]
_FILE_BYTES = 64_000_000


@contextmanager
def spin(folder: Path) -> Iterator[Step]:
    """Arithmetic that stays in registers."""

    def step() -> int:
        count = 0
        for number in range(50_000):
            count += number & 7
        return count

    yield step


@contextmanager
def vector(folder: Path) -> Iterator[Step]:
    """The vector units."""
    a, b = np.random.default_rng(1).standard_normal((2, 200, 200))
    yield lambda: a @ b


@contextmanager
def bandwidth(folder: Path) -> Iterator[Step]:
    """All of the memory's bandwidth."""
    source, target = np.ones(16_000_000), np.empty(16_000_000)
    at = 0

    def step() -> None:
        nonlocal at
        part = slice(at, at + 1_000_000)
        np.copyto(target[part], source[part])
        at = (at + 1_000_000) % len(source)

    yield step


@contextmanager
def thrash(folder: Path) -> Iterator[Step]:
    """The last-level cache: writes in no order."""
    table = np.zeros(4_000_000)
    places = np.random.default_rng(2).integers(0, len(table), (16, 100_000))
    turn = 0

    def step() -> None:
        nonlocal turn
        table[places[turn % len(places)]] += 1.0
        turn += 1

    yield step


@contextmanager
def near_cache(folder: Path) -> Iterator[Step]:
    """A core's own cache: a megabyte over and over."""
    block = np.zeros(131_072)
    yield lambda: np.add(block, 1.0, out=block)


@contextmanager
def pages(folder: Path) -> Iterator[Step]:
    """Page faults: memory taken, touched and given back."""

    def step() -> None:
        with mmap.mmap(-1, 8_000_000) as memory:
            for at in range(0, 8_000_000, 4096):
                memory[at] = 1

    yield step


@contextmanager
def forks(folder: Path) -> Iterator[Step]:
    """Processes that end at once."""

    def step() -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    yield step


@contextmanager
def switches(folder: Path) -> Iterator[Step]:
    """Switches between two processes."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        while theirs.recv(1):
            theirs.send(b"x")
        os._exit(0)
    theirs.close()

    def step() -> None:
        for _ in range(100):
            ours.send(b"x")
            ours.recv(1)

    yield step
    ours.close()
    os.wait()


@contextmanager
def calls(folder: Path) -> Iterator[Step]:
    """Calls of the kernel."""
    path = str(folder)

    def step() -> None:
        for _ in range(500):
            os.stat(path)

    yield step


@contextmanager
def syncs(folder: Path) -> Iterator[Step]:
    """Writes that wait for the disk."""
    path = folder / f"syncs-{os.getpid()}"
    block = os.urandom(1_000_000)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    at = 0

    def step() -> None:
        nonlocal at
        os.pwrite(descriptor, block, at)
        os.fsync(descriptor)
        at = (at + len(block)) % _FILE_BYTES

    yield step
    os.close(descriptor)


@contextmanager
def reads(folder: Path) -> Iterator[Step]:
    """Reads past the page cache."""
    path = folder / f"reads-{os.getpid()}"
    block = os.urandom(1_000_000)
    with path.open("wb") as file:
        for _ in range(_FILE_BYTES // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    descriptor = os.open(path, os.O_RDONLY)
    at = 0

    def step() -> None:
        nonlocal at
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        for _ in range(8):
            os.pread(descriptor, 256_000, at)
            at = (at + 7_000_000) % (_FILE_BYTES - 256_000)

    yield step
    os.close(descriptor)


@contextmanager
def loopback(folder: Path) -> Iterator[Step]:
    """Data through the network stack of the host."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        to = socket.create_connection(server.getsockname())
        taker, _ = server.accept()
        body, buffer = b"x" * 65_536, bytearray(65_536)

        def step() -> None:
            to.sendall(body)
            left = len(body)
            while left:
                left -= taker.recv_into(buffer, left)

        yield step
        to.close()
        taker.close()
