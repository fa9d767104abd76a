"""Skip-join multi-level feedback: short prompts first, nobody for ever behind them.

A request joins the level whose quantum is enough for its prompt, as its first step is known to take
so long (FastServe's skip-join), and goes down a level each time it is put back. Whoever waited too
long goes before all levels. A gateway cannot stop what runs, so levels are of those that wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from controller.gateway.ask import Ask
from controller.gateway.queueing.base import LineSpec, Room
from controller.gateway.queueing.fifo import Fifo, arrival
from controller.gateway.queueing.lanes import Lanes
from controller.gateway.queueing.ranking import Key
from store.errors import ControllerError

SOURCE = "FastServe, arXiv 2305.05920, section 4"


class _Lane:
    """Levels, the promoted ones before them."""

    def __init__(self, levels: int, quantum_tokens: float, starve_seconds: float) -> None:
        self._quantum_tokens, self._starve_seconds = quantum_tokens, starve_seconds
        self._levels = [Fifo() for _ in range(levels + 1)]
        self._level_of: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._level_of)

    def put(self, ask: Ask, now: float) -> None:
        level, fits = 1, self._quantum_tokens
        while fits < ask.input_tokens / ask.weight and level < len(self._levels) - 1:
            level, fits = level + 1, 2 * fits
        level = min(level + ask.attempt - 1, len(self._levels) - 1)
        self._levels[level].put(ask)
        self._level_of[ask.number] = level

    def drop(self, ask: Ask) -> bool:
        level = self._level_of.pop(ask.number, None)
        return level is not None and self._levels[level].drop(ask)

    def candidates(self, room: Room, now: float) -> Iterator[Ask]:
        self._promote(now)
        firsts = (level.first() for level in self._levels)
        return islice((ask for ask in firsts if ask is not None), 1)

    def key(self, ask: Ask) -> Key:
        return (float(self._level_of[ask.number]), *arrival(ask))

    def _promote(self, now: float) -> None:
        """The earliest first, so that they stand by arrival."""
        while True:
            firsts = [one for level in self._levels[1:] if (one := level.first()) is not None]
            oldest = min(firsts, key=arrival, default=None)
            if oldest is None or now - oldest.arrived < self._starve_seconds:
                return
            self._levels[self._level_of[oldest.number]].drop(oldest)
            self._levels[0].put(oldest)
            self._level_of[oldest.number] = 0


class Mlfq:
    """See the head of this module."""

    def __init__(
        self, levels: int = 6, quantum_tokens: float = 256.0, starve_seconds: float = 30.0
    ) -> None:
        """Set the levels.

        Args:
            levels: how many; each has twice the quantum of the one before.
            quantum_tokens: prompt tokens of the first, times the tenant's weight.
            starve_seconds: after which a request goes before all levels.

        Raises:
            ControllerError: a value out of range.
        """
        if not 1 <= levels <= 32:
            raise ControllerError(f"levels must be 1 to 32, not {levels}")
        if not 0 < quantum_tokens < float("inf") or not 0 <= starve_seconds < float("inf"):
            raise ControllerError("quantum_tokens must be above 0, and starve_seconds 0 or more")
        self.spec = LineSpec("mlfq", "Skip-join multi-level feedback", SOURCE, {
            "levels": levels, "quantum_tokens": quantum_tokens, "starve_seconds": starve_seconds,
        })  # fmt: skip
        self._lanes = Lanes(lambda: _Lane(levels, quantum_tokens, starve_seconds))

    def put(self, ask: Ask, now: float) -> None:
        """Into its level."""
        self._lanes.put(ask, now)

    def take(self, room: Room, now: float) -> Ask | None:
        """The earliest of the first level that has any."""
        return self._lanes.take(room, now)

    def drop(self, ask: Ask) -> bool:
        """Forget it."""
        return self._lanes.drop(ask)

    def served(self, ask: Ask, output_tokens: int, *, is_over: bool, now: float) -> None:
        """What runs cannot be stopped here."""
