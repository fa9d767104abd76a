"""A block, measured: one victim in one process, alone and beside neighbours."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from collector.lab.probes import Probes
from collector.lab.sampler import Groups, Recorder, Row, Sampler
from servescope.lab.children import Child
from servescope.lab.labels import END, START, Floats
from servescope.lab.plan import Block, Neighbour, cores_of
from servescope.lab.settings import LabSettings
from servescope.lab.shapes import duty
from store.clock import Clock
from store.errors import CollectError

_READY_SECONDS = 120.0
_LATE_SECONDS = 60.0
WORKER, DISTURBER = "servescope.lab.worker", "servescope.lab.disturb"


@dataclass(frozen=True, slots=True)
class Run:
    """What was seen in one run.

    Attributes:
        neighbour: None when alone.
        duty: of the neighbour, a share a second; empty when alone.
        start: monotonic, when the victim was told to begin.
        events: what it did.
        rows: what the host told.
        failed: why there is nothing; None when there is.
    """

    neighbour: Neighbour | None
    duty: Sequence[float]
    start: float
    events: Floats
    rows: Sequence[Row]
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """All runs of a block.

    Attributes:
        runs: in order.
        pieces: kinds in the victim's trace.
        think_seconds: mean pause after a piece.
    """

    runs: Sequence[Run]
    pieces: int
    think_seconds: float


class Bench:
    """Measures blocks on this host.

    Args:
        settings: how.
        clock: the time.
        scratch: folder for files of programs; each block's are removed.
        told: is handed a share of the block after each run, 0..1.
    """

    def __init__(
        self,
        settings: LabSettings,
        clock: Clock,
        scratch: Path,
        told: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._scratch = scratch
        self._told = told
        self._every = frozenset(os.sched_getaffinity(0))
        # The last core: the first one serves most interrupts.
        self._own = frozenset({max(self._every)})
        self._probes = Probes()
        self._pause = threading.Event()

    def measure(self, block: Block) -> Measured:
        """Run all runs of the block.

        Raises:
            CollectError: the victim cannot run.
        """
        self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch) as name:
            folder = Path(name)
            arguments = [block.victim, str(block.seed), name]
            with Child(WORKER, arguments, self._own, folder / "worker.log") as victim:
                pieces = int(victim.hear(_READY_SECONDS)["pieces"])
                think = self._think(victim, block, folder)
                runs = []
                for number, neighbour in enumerate(block.runs, start=1):
                    runs.append(self._run(victim, block, neighbour, think, folder))
                    self._told(number / len(block.runs))
                return Measured(runs, pieces, think)

    def _think(self, victim: Child, block: Block, folder: Path) -> float:
        """Mean pause so that the victim rests about as long as it works."""
        if block.load == "full":
            return 0.0
        events = self._work(victim, self._settings.calibrate_seconds, 0.0, block, folder)
        return float(np.mean(events[:, END] - events[:, START])) if len(events) else 0.0

    def _run(
        self, victim: Child, block: Block, neighbour: Neighbour | None, think: float, folder: Path
    ) -> Run:
        self._pause.wait(self._settings.settle_seconds)
        shape = self._duty(neighbour)
        with ExitStack() as stack:
            try:
                children = self._disturb(neighbour, shape, folder, stack)
            except CollectError as error:
                return Run(neighbour, shape, 0.0, np.empty((0, 5)), (), str(error))
            pids = [child.pid for child in children]
            groups = Groups([victim.pid], pids, [os.getpid()], self._own)
            sampler = Sampler(self._clock, groups, self._probes)
            recorder = Recorder(sampler, self._clock, self._settings.period_seconds)
            start = self._clock.monotonic()
            with recorder:
                events = self._work(victim, self._settings.run_seconds, think, block, folder)
            failed = None if all(child.alive for child in children) else "it ended early"
            return Run(neighbour, shape, start, events, recorder.rows, failed)

    def _duty(self, neighbour: Neighbour | None) -> list[float]:
        if neighbour is None:
            return []
        return duty(neighbour.shape, max(round(self._settings.run_seconds), 1), neighbour.seed)

    def _disturb(
        self,
        neighbour: Neighbour | None,
        shape: Sequence[float],
        folder: Path,
        stack: ExitStack,
    ) -> list[Child]:
        """Start the neighbours and wait until they work."""
        if neighbour is None:
            return []
        cores = cores_of(neighbour.placement, self._own, self._every)
        children = []
        for _ in range(neighbour.copies):
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
            arguments = [neighbour.aggressor, str(place)]
            log = folder / "neighbour.log"
            children.append(stack.enter_context(Child(DISTURBER, arguments, cores, log)))
        for child in children:
            # It goes on until it is stopped: the last pieces may take longer than planned.
            child.tell({"duty": [*shape, *([shape[-1]] * round(_LATE_SECONDS))]})
        for child in children:
            child.hear(_READY_SECONDS)
        return children

    def _work(
        self, victim: Child, seconds: float, think: float, block: Block, folder: Path
    ) -> Floats:
        to = folder / "events.npy"
        order = {"seconds": seconds, "think_seconds": think, "seed": block.seed, "to": str(to)}
        victim.tell(order)
        victim.hear(seconds + _LATE_SECONDS)
        events: Floats = np.load(to, allow_pickle=False)
        to.unlink()
        return events
