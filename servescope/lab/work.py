"""What victims and neighbours are made of: small pieces of work, the same ones every time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Told(NamedTuple):
    """What a piece of work told beside that it is done.

    Attributes:
        first_at: monotonic time of the first part of the answer; None when it has no parts.
        amount: what was made: tokens, else 1.
    """

    first_at: float | None = None
    amount: float = 1.0


DONE = Told()
Piece = Callable[[], Told]


@dataclass(frozen=True, slots=True)
class Work:
    """A trace of pieces, done again and again in this order.

    Attributes:
        pieces: each always does the same.
        concurrency: how many are under way at the same time.
    """

    pieces: Sequence[Piece]
    concurrency: int = 1


@dataclass(frozen=True, slots=True)
class Place:
    """What a program needs to be set up.

    Attributes:
        folder: for its files; removed afterwards.
        seed: of everything random in it.
    """

    folder: Path
    seed: int


Setup = Callable[[Place], AbstractContextManager[Work]]


@dataclass(frozen=True, slots=True)
class Program:
    """A program of the laboratory.

    Attributes:
        name: unique.
        family: programs of one family are alike and are left out together in a split.
        about: what it does.
        setup: makes its work; what it started ends with the context.
        missing: why it cannot run here; None when it can.
    """

    name: str
    family: str
    about: str
    setup: Setup
    missing: Callable[[], str | None] = lambda: None
