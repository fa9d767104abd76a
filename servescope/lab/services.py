"""Programs that wait: files, a database, sockets, Redis."""

from __future__ import annotations

import os
import random
import shutil
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from servescope.lab.children import bound
from servescope.lab.work import DONE, Piece, Place, Program, Told, Work
from store.clock import WallClock
from store.errors import CollectError

_PIECES = 8
_FILE_BYTES = 64_000_000
_READY_SECONDS = 5.0
_COMMANDS = 400


@contextmanager
def _database(place: Place) -> Iterator[Work]:
    """Sums and updates in a file of 50,000 rows that grows no further."""
    path = place.folder / "shop.sqlite"
    dice = random.Random(place.seed)  # noqa: S311 - an experiment, no secret
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY, shop INTEGER, price REAL)")
    rows = ((dice.randrange(200), dice.random()) for _ in range(50_000))
    for shop, price in rows:
        connection.execute("INSERT INTO sale (shop, price) VALUES (?, ?)", (shop, price))
    connection.execute("CREATE INDEX by_shop ON sale (shop)")
    connection.commit()

    def piece(number: int) -> Piece:
        shops = [dice.randrange(200) for _ in range(10 + 3 * number)]

        def ask() -> Told:
            for shop in shops:
                connection.execute(
                    "SELECT count(*), sum(price) FROM sale WHERE shop = ?", (shop,)
                ).fetchone()
            connection.execute("UPDATE sale SET price = price + 1 WHERE shop = ?", (shops[0],))
            connection.commit()
            return DONE

        return ask

    yield Work([piece(number) for number in range(_PIECES)])
    connection.close()


@contextmanager
def _write(place: Place) -> Iterator[Work]:
    """Writes and waits for the disk."""
    path = place.folder / "written"
    block = os.urandom(256_000)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)

    def piece(number: int) -> Piece:
        def write() -> Told:
            os.lseek(descriptor, number * 2_000_000, os.SEEK_SET)
            for _ in range(1 + number % 4):
                os.write(descriptor, block)
            os.fsync(descriptor)
            return DONE

        return write

    yield Work([piece(number) for number in range(_PIECES)])
    os.close(descriptor)


@contextmanager
def _read(place: Place) -> Iterator[Work]:
    """Reads a file from the disk, not from memory."""
    path = place.folder / "read"
    block = os.urandom(1_000_000)
    with path.open("wb") as file:
        for _ in range(_FILE_BYTES // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    descriptor = os.open(path, os.O_RDONLY)
    dice = random.Random(place.seed)  # noqa: S311 - an experiment, no secret

    def piece(number: int) -> Piece:
        places = [dice.randrange(_FILE_BYTES // 65_536) * 65_536 for _ in range(16 + 4 * number)]

        def read() -> Told:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            for start in places:
                os.pread(descriptor, 65_536, start)
            return DONE

        return read

    yield Work([piece(number) for number in range(_PIECES)])
    os.close(descriptor)


@contextmanager
def _echo(place: Place) -> Iterator[Work]:
    """Questions and answers between two processes: the scheduler decides."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _answer(theirs)
    theirs.close()

    def piece(number: int) -> Piece:
        question = b"x" * (64 + 256 * number)

        def ask() -> Told:
            for _ in range(40):
                ours.sendall(question)
                left = len(question)
                while left:
                    left -= len(ours.recv(left))
            return DONE

        return ask

    try:
        yield Work([piece(number) for number in range(_PIECES)])
    finally:
        ours.close()
        os.waitpid(child, 0)


def _answer(to: socket.socket) -> None:
    """Send back what comes, until the other side closes."""
    try:
        while part := to.recv(65_536):
            to.sendall(part)
    finally:
        os._exit(0)


@contextmanager
def _redis(place: Place) -> Iterator[Work]:
    program = shutil.which("redis-server")
    if program is None:
        raise CollectError("redis-server is not installed")
    path = place.folder / "redis.sock"
    server = subprocess.Popen(  # noqa: S603 - found on the path
        bound(
            [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir",
             str(place.folder), "--maxmemory", "64mb", "--daemonize", "no"],
            os.sched_getaffinity(0),
        ),
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with _connected(path) as to:
            yield Work([_commands(to, number) for number in range(_PIECES)])
    finally:
        server.terminate()
        server.wait()


@contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    clock, pause = WallClock(), threading.Event()
    until = clock.monotonic() + _READY_SECONDS
    with socket.socket(socket.AF_UNIX) as to:
        while True:
            with suppress(OSError):
                to.connect(str(path))
                break
            if clock.monotonic() > until:
                raise CollectError("redis-server did not become ready")
            pause.wait(0.02)
        yield to


def _commands(to: socket.socket, number: int) -> Piece:
    """Four hundred pipelined commands that set and get."""
    value = b"v" * (16 << number)
    body, answers = b"", 0
    for at in range(_COMMANDS // 2):
        key = b"key:%d:%d" % (number, at)
        body += _command(b"SET", key, value) + _command(b"GET", key)
        answers += len(b"+OK\r\n") + len(b"$%d\r\n" % len(value)) + len(value) + 2

    def ask() -> Told:
        to.sendall(body)
        left = answers
        while left:
            part = to.recv(left)
            if not part:
                raise CollectError("redis-server closed the connection")
            left -= len(part)
        return DONE

    return ask


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def _no_redis() -> str | None:
    return None if shutil.which("redis-server") else "no redis-server: apt-get install redis-server"


SERVICES = (
    Program("database", "database", "sums and updates in SQLite", _database),
    Program("write", "disk", "writes files and waits for the disk", _write),
    Program("read", "disk", "reads files past the page cache", _read),
    Program("echo", "sockets", "small messages between two processes", _echo),
    Program("redis", "redis", "sets and gets in Redis", _redis, _no_redis),
)
