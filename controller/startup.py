"""How long a replica takes from being asked for until it serves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.numbers import Floats


@dataclass(frozen=True, slots=True)
class StartupTimes:
    """A distribution by its quantiles; between them a straight line, beyond them flat.

    Attributes:
        levels: rising, in (0, 1).
        seconds: rising with them.
    """

    levels: tuple[float, ...]
    seconds: tuple[float, ...]

    @classmethod
    def about(cls, seconds: float, spread: float = 0.1) -> StartupTimes:
        """Evenly within `spread` of `seconds`; the protocol's +-10 %."""
        return cls((0.0001, 0.9999), (seconds * (1 - spread), seconds * (1 + spread)))

    def draw(self, random: np.random.Generator) -> float:
        """One start."""
        return float(np.interp(random.random(), self.levels, self.seconds))

    def quantile(self, level: float) -> float:
        """Seconds by which so many starts are ready."""
        return float(np.interp(level, self.levels, self.seconds))

    def chance_by(self, seconds: Floats) -> Floats:
        """Share of the starts that are ready after so many seconds."""
        made = np.interp(seconds, self.seconds, self.levels, left=0.0, right=1.0)
        return np.asarray(made, dtype=np.float64)
