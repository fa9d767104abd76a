"""What a fleet remembers: written at each change, read by the next controller."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from controller.actuators.local.processes import Identity
from store.errors import ControllerError

ASKED: Final = "asked"
SPAWNED: Final = "spawned"
OPEN: Final = "open"
READY: Final = "ready"
DRAINING: Final = "draining"
STOPPING: Final = "stopping"
STARTING: Final = (ASKED, SPAWNED, OPEN)
COUNTED: Final = (*STARTING, READY)
"""Phases of replicas that count as wanted; the others are leaving."""
MOST_BYTES = 8 << 20
FORMAT = 1


@dataclass(slots=True)
class Replica:
    """One process of the fleet.

    Attributes:
        name: its own, never used again.
        pool: whose.
        port: where it listens.
        phase: asked, spawned, open (its port), ready, draining, stopping.
        process: which; None until spawned.
        asked_at: aware UTC, like the rest.
        spawned_at: when its process began.
        open_at: when its port was open.
        ready_at: when it took requests for the first time.
    """

    name: str
    pool: str
    port: int
    phase: str = ASKED
    process: Identity | None = None
    asked_at: datetime | None = None
    spawned_at: datetime | None = None
    open_at: datetime | None = None
    ready_at: datetime | None = None


@dataclass(slots=True)
class Wanted:
    """What a pool was told to have.

    Attributes:
        replicas: how many.
        revision: grows with each change.
        decision_id: of the last change.
    """

    replicas: int
    revision: int = 1
    decision_id: str = ""


@dataclass(slots=True)
class State:
    """Everything that is kept between two controllers.

    Attributes:
        boot: of the host, as of `processes.boot_id`.
        pools: by name.
        replicas: by name.
        made: replicas ever made, for their names.
    """

    boot: str
    pools: dict[str, Wanted] = field(default_factory=dict)
    replicas: dict[str, Replica] = field(default_factory=dict)
    made: int = 0


class Folder:
    """The folder of a fleet, held by one controller at a time.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    @property
    def fleet(self) -> str:
        """Names the fleet in the marks of its processes; the same as long as the folder is."""
        return hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:16]

    def hold(self) -> None:
        """Take it.

        Raises:
            ControllerError: another controller has it, or it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ControllerError(
                f"the folder cannot be written: {error.strerror}", where=str(self.path)
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise ControllerError(
                "another controller holds this fleet",
                where=str(self.path),
                hint="end it, or give this one a folder of its own",
            ) from None
        self._lock = lock

    def release(self) -> None:
        """Let go of it; safe twice."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def log(self, replica: str) -> Path:
        """Where a replica's output goes."""
        return self.path / f"{replica}.log"

    def load(self, boot: str) -> State | None:
        """What was kept; None when there is nothing, or nothing of this boot that can be read."""
        file = self.path / "state.json"
        try:
            with file.open("rb") as opened:
                told = json.loads(opened.read(MOST_BYTES))
            state = _state(told)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # What runs is found by its marks; the file is kept for whoever wants to look.
            file.replace(file.with_suffix(".damaged"))
            return None
        if state.boot != boot:
            state.replicas.clear()
            state.boot = boot
        return state

    def save(self, state: State) -> None:
        """Keep it; whole or not at all."""
        told = {"format": FORMAT, **asdict(state)}
        write_json(self.path / "state.json", told)


def write_json(file: Path, told: Any) -> None:
    """Write a file so that readers see the old one or the new one, never a part.

    Raises:
        OSError: it cannot be written.
    """
    aside = file.with_name(f".{file.name}.part")
    aside.write_text(json.dumps(told, default=_plain, indent=1), "utf-8")
    aside.replace(file)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def _state(told: Mapping[str, Any]) -> State:
    if told["format"] != FORMAT:
        raise ValueError("another format")
    return State(
        str(told["boot"]),
        {name: Wanted(**one) for name, one in told["pools"].items()},
        {name: _replica(one) for name, one in told["replicas"].items()},
        int(told["made"]),
    )


def _replica(told: Mapping[str, Any]) -> Replica:
    times = {
        name: None if told[name] is None else datetime.fromisoformat(told[name])
        for name in ("asked_at", "spawned_at", "open_at", "ready_at")
    }
    process = told["process"]
    return Replica(
        **{
            **told,
            **times,
            "process": None if process is None else Identity(**process),
        }
    )
