"""Processes of ours: known by a mark in their environment, never by their number alone.

A process number is used again after its process has ended, so whatever is signalled is first
compared: same number, same start since boot, same mark.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "SERVESCOPE_LOCAL_REPLICA"
HOST = "127.0.0.1"
_PROC = Path("/proc")
_GONE = ("Z", "X", "x")
_ENVIRONMENT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Identity:
    """One process of one boot.

    Attributes:
        pid: its number.
        start_ticks: clock ticks from boot to its start.
    """

    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class Marked:
    """A process that carries a mark of ours.

    Attributes:
        identity: which.
        fleet: which fleet it belongs to.
        pool: of the fleet.
        replica: its name.
        port: where it listens.
    """

    identity: Identity
    fleet: str
    pool: str
    replica: str
    port: int


def supported() -> bool:
    """Whether this system tells what is needed."""
    return (_PROC / "self" / "stat").exists()


def boot_id() -> str:
    """Of this boot of the host; process numbers mean nothing beyond it."""
    return (_PROC / "sys" / "kernel" / "random" / "boot_id").read_text("ascii").strip()


def spawn(
    command: Sequence[str], environment: Mapping[str, str], mark: str, log: Path
) -> Identity | None:
    """Start a process that outlives us; what it prints is appended to `log`.

    Returns:
        Which it is; None when it ended at once.

    Raises:
        OSError: the program cannot be run.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawnp(
        command[0],
        list(command),
        {**os.environ, **environment, MARK: mark},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        # A Ctrl-C in the terminal of the controller must not end its engines.
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM),
    )
    return identity(pid)


def identity(pid: int) -> Identity | None:
    """Of the process with this number; None when it is gone."""
    # Our own children stay as zombies until asked for.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        told = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The name stands in brackets and may hold anything.
    fields = told.rpartition(")")[2].split()
    return None if fields[0] in _GONE else Identity(pid, int(fields[19]))


def alive(process: Identity) -> bool:
    """Whether it is still there, and the same."""
    return identity(process.pid) == process


def send(process: Identity, number: signal.Signals) -> None:
    """Signal the group of a process of ours; nothing when it is gone."""
    if alive(process):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)  # it leads its own session, with its children


def marked(fleet: str) -> Iterator[Marked]:
    """Every process that carries the mark of a fleet and leads its session: the replicas."""
    for one in _carrying(fleet):
        if _session(one.identity.pid) == one.identity.pid:
            yield one


def end_strays(fleet: str) -> int:
    """End children whose replica is gone: an engine's workers may outlive it. Gives how many."""
    found = list(_carrying(fleet))
    sessions = {one.identity.pid: _session(one.identity.pid) for one in found}
    leaders = {pid for pid, session in sessions.items() if pid == session}
    strays = [one.identity for one in found if sessions[one.identity.pid] not in leaders]
    for stray in strays:
        if identity(stray.pid) == stray:
            with contextlib.suppress(ProcessLookupError):
                os.kill(stray.pid, signal.SIGKILL)
    return len(strays)


def _carrying(fleet: str) -> Iterator[Marked]:
    """Every process with the mark of a fleet; children inherit it."""
    for entry in _PROC.iterdir():
        mark = _mark(entry) if entry.name.isdigit() else None
        found = None if mark is None else _read_mark(int(entry.name), mark)
        if found is not None and found.fleet == fleet:
            yield found


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _mark(entry: Path) -> str | None:
    try:
        with (entry / "environ").open("rb") as file:
            told = file.read(_ENVIRONMENT_BYTES)
    except OSError:
        return None
    start = f"{MARK}=".encode()
    for part in told.split(b"\0"):
        if part.startswith(start):
            return part.removeprefix(start).decode("utf-8", "replace")
    return None


def _read_mark(pid: int, mark: str) -> Marked | None:
    fleet, _, rest = mark.partition("/")
    pool, _, rest = rest.partition("/")
    replica, _, port = rest.partition("/")
    found = identity(pid)
    if found is None or not port.isdigit():
        return None
    return Marked(found, fleet, pool, replica, int(port))


def mark_of(fleet: str, pool: str, replica: str, port: int) -> str:
    """What a replica carries in its environment."""
    return f"{fleet}/{pool}/{replica}/{port}"


def port_is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def trim(log: Path, most_bytes: int) -> None:
    """Keep the newer half of a log that has grown too long; its writer appends and goes on."""
    try:
        if log.stat().st_size <= most_bytes:
            return
        with log.open("rb+") as file:
            file.seek(-most_bytes // 2, os.SEEK_END)
            kept = file.read(most_bytes // 2)
            file.truncate(0)
        with log.open("ab") as file:
            file.write(b"[...]\n" + kept)
    except OSError:
        return
