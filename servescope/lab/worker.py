"""A victim as a process: `python -m servescope.lab.worker NAME SEED FOLDER`.

It says `{"ready": …}` and then answers each `{"seconds", "think_seconds", "seed", "to"}` on its
input with `{"events": n}`, after it has left what it did in the file `to`. It ends with its input.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from servescope.lab.children import ERROR
from servescope.lab.victims import victim
from servescope.lab.work import Place, Work
from store.clock import WallClock
from store.errors import ServescopeError

EVENT_COLUMNS = ("piece", "start", "end", "first", "amount")


class Order(NamedTuple):
    """What is to be done.

    Attributes:
        seconds: how long new pieces are begun.
        think_seconds: mean pause after a piece; 0 for none.
        seed: of the pauses.
    """

    seconds: float
    think_seconds: float
    seed: int


def do(work: Work, order: Order) -> np.ndarray[Any, Any]:
    """Work through the trace from its start.

    Returns:
        One row a piece, in order of their ends: `EVENT_COLUMNS`, times monotonic; `first` is NaN
        where a piece has no first part.
    """
    found: list[tuple[float, ...]] = []
    failed: list[BaseException] = []
    clock = WallClock()
    until = clock.monotonic() + order.seconds

    def run(lane: int) -> None:
        dice = random.Random(f"{order.seed}-{lane}")  # noqa: S311 - an experiment, no secret
        pause = threading.Event()
        number = lane
        try:
            while (start := clock.monotonic()) < until:
                piece = number % len(work.pieces)
                told = work.pieces[piece]()
                first = float("nan") if told.first_at is None else told.first_at
                found.append((piece, start, clock.monotonic(), first, told.amount))
                number += work.concurrency
                if order.think_seconds > 0:
                    pause.wait(dice.expovariate(1 / order.think_seconds))
        except (OSError, ServescopeError) as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(lane,)) for lane in range(work.concurrency)]
    for thread in threads[1:]:
        thread.start()
    run(0)
    for thread in threads[1:]:
        thread.join()
    if failed:
        raise failed[0]
    return np.array(sorted(found, key=lambda row: row[2])).reshape(-1, len(EVENT_COLUMNS))


def main(arguments: list[str]) -> int:
    """Serve orders from the input until it ends."""
    name, seed, folder = arguments
    try:
        with victim(name).setup(Place(Path(folder), int(seed))) as work:
            for piece in work.pieces:
                piece()  # the first time is never like the others
            _say({"ready": name, "pieces": len(work.pieces)})
            for line in sys.stdin:
                order = json.loads(line)
                to = order.pop("to")
                events = do(work, Order(**order))
                np.save(to, events, allow_pickle=False)
                _say({"events": len(events)})
    except (OSError, ServescopeError) as error:
        _say({ERROR: f"{name}: {error}"})
        return 2
    return 0


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
