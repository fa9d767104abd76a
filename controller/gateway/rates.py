"""How fast something went lately: counts that fade."""

from __future__ import annotations

import math

WINDOW_SECONDS = 30.0
LEAST_SECONDS = 1.0


class FadingRate:
    """Events a second, the newest counting most.

        rate = sum of n e^(-(now - at) / window) / (window (1 - e^(-known / window)))

    `known` is how long has been watched: a rate is right from the first second on, and unknown
    before it.
    """

    def __init__(self, window_seconds: float = WINDOW_SECONDS) -> None:
        self._window = window_seconds
        self._sum, self._at, self._since = 0.0, math.nan, math.nan

    def add(self, count: float, now: float) -> None:
        """So many happened now."""
        self._fade(now)
        self._sum += count

    def per_second(self, now: float) -> float | None:
        """None before anything happened, and for the first second after."""
        if math.isnan(self._since) or now - self._since < LEAST_SECONDS:
            return None
        self._fade(now)
        known = -math.expm1(-(now - self._since) / self._window)
        return self._sum / (self._window * known)

    def _fade(self, now: float) -> None:
        if math.isnan(self._at):
            self._at = self._since = now
        if now > self._at:
            self._sum *= math.exp(-(now - self._at) / self._window)
            self._at = now
