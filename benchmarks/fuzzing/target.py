"""What a fuzz target is: seeds made by our own code, and a function that one input is given to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

Take = Callable[[bytes], None]
"""Gives one input to a reader; whatever it raises is a crash."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reader of foreign bytes.

    Attributes:
        name: what `--target` calls it.
        meaning: what is read, for people.
        seeds: good inputs, given a folder of its own.
        made: sets the reader up in a folder and gives the function; what has to be closed goes
            onto the stack.
        words: pieces that the format is made of.
        is_text: whether inputs are text, so that words are put between others.
    """

    name: str
    meaning: str
    seeds: Callable[[Path], Sequence[bytes]]
    made: Callable[[Path, ExitStack], Take]
    words: tuple[bytes, ...] = ()
    is_text: bool = False


class Differs(AssertionError):
    """Two readers of the same bytes do not say the same; `what` tells of what."""

    def __init__(self, what: str, text: str) -> None:
        super().__init__(f"{what}: {text}")
        self.what = what


def same(what: str, ours: object, theirs: object) -> None:
    """Refuse a difference.

    Raises:
        Differs: naming both.
    """
    if ours != theirs:
        raise Differs(what, f"{ours!r:.300} is not {theirs!r:.300}")
