"""What is measured next: the victim, and the neighbours, that were measured least."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from servescope.lab.shapes import SHAPES

LOADS = ("full", "half")
PLACEMENTS = ("same", "other", "any")
_PLACEMENT_WEIGHTS = (5, 4, 2)
_NOISY_COUNTS = 0.5
ALONE, BESIDE = "alone", "beside"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Who disturbs, and how.

    Attributes:
        aggressor: its name.
        shape: of its strength over time.
        placement: on the victim's core, on the others, or wherever the kernel puts it.
        copies: of it.
        seed: of its shape.
    """

    aggressor: str
    shape: str
    placement: str
    copies: int
    seed: int


@dataclass(frozen=True, slots=True)
class Block:
    """One victim alone and beside neighbours, in the order of the runs.

    Attributes:
        number: of the block.
        victim: its name.
        load: `full` has no pauses, `half` rests about as long as it works.
        seed: of its trace and its pauses, the same in every run.
        runs: None is alone.
    """

    number: int
    victim: str
    load: str
    seed: int
    runs: tuple[Neighbour | None, ...]

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What there is to choose from.

    Attributes:
        victims: names.
        aggressors: names.
        beside: runs with a neighbour in a block.
        between: of them between two runs alone.
        seed: of all choices.
        cores: of the host.
    """

    victims: Sequence[str]
    aggressors: Sequence[str]
    beside: int = 6
    between: int = 3
    seed: int = 0
    cores: int = os.cpu_count() or 1

    @property
    def runs(self) -> int:
        """Runs in a block, those alone included."""
        return self.beside + -(-self.beside // self.between) + 1


def next_block(wanted: Wanted, number: int, done: Sequence[Mapping[str, Any]]) -> Block:
    """The block of that number, from what was measured so far.

    What was noisy counts half: it has to come again, but must not keep the others from coming.

    Args:
        wanted: what there is to choose from.
        number: of the block.
        done: runs with `victim`, `load`, `aggressor` and `noise`.
    """
    dice = random.Random(f"{wanted.seed}-{number}")  # noqa: S311 - an experiment, no secret
    victim = _least(wanted.victims, _covered("victim", done), dice)
    mine = [run for run in done if run["victim"] == victim]
    load = _least(LOADS, _covered("load", mine), dice)
    met = _covered("aggressor", mine)
    neighbours = []
    for _ in range(wanted.beside):
        name = _least(wanted.aggressors, met, dice)
        met[name] = met.get(name, 0.0) + 1
        neighbours.append(_neighbour(name, wanted.cores, dice))
    runs: list[Neighbour | None] = [None]
    for start in range(0, wanted.beside, wanted.between):
        runs += [*neighbours[start : start + wanted.between], None]
    return Block(number, victim, load, dice.randrange(1 << 31), tuple(runs))


def cores_of(placement: str, own: frozenset[int], every: frozenset[int]) -> frozenset[int]:
    """On which cores a neighbour runs; on a single core all placements are one."""
    others = every - own
    if placement == "same" or not others:
        return own
    return others if placement == "other" else every


def _covered(name: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for run in runs:
        found[run[name]] = found.get(run[name], 0.0) + (_NOISY_COUNTS if run["noise"] else 1)
    return found


def _least(names: Sequence[str], counts: Mapping[str, float], dice: random.Random) -> str:
    fewest = min(counts.get(name, 0) for name in names)
    return dice.choice([name for name in names if counts.get(name, 0) == fewest])


def _neighbour(name: str, cores: int, dice: random.Random) -> Neighbour:
    placement = dice.choices(PLACEMENTS, _PLACEMENT_WEIGHTS)[0] if cores > 1 else "same"
    copies = dice.choice((1, 1, 2))
    return Neighbour(name, dice.choice(SHAPES), placement, copies, dice.randrange(1 << 31))
