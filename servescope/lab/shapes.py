"""How strongly a neighbour works, second by second: shares of time from 0 to 1."""

from __future__ import annotations

import math
import random

SHAPES = ("static", "ramp", "periodic", "random")
LEVELS = (0.3, 0.6, 1.0)
_PERIOD_SECONDS = (6, 10, 16)
_HOLD_SECONDS = 3


def duty(shape: str, seconds: int, seed: int) -> list[float]:
    """The share of each second in which the neighbour works.

    Args:
        shape: one of `SHAPES`: one level; rising or falling; a wave; a new level every three
            seconds.
        seconds: how many.
        seed: of level, direction, period and phase.
    """
    dice = random.Random(seed)  # noqa: S311 - an experiment, no secret
    level = dice.choice(LEVELS)
    if shape == "static":
        return [level] * seconds
    if shape == "ramp":
        rising = [level * (second + 1) / seconds for second in range(seconds)]
        return rising if dice.random() < 0.5 else rising[::-1]
    if shape == "periodic":
        period, phase = dice.choice(_PERIOD_SECONDS), dice.random()
        turns = [2 * math.pi * (second / period + phase) for second in range(seconds)]
        return [level * (1 + math.sin(turn)) / 2 for turn in turns]
    holds = [dice.random() for _ in range(seconds // _HOLD_SECONDS + 1)]
    return [holds[second // _HOLD_SECONDS] for second in range(seconds)]
