"""Work that several views of one scope have in common: done once where somebody keeps it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Sharing(Protocol):
    """Gives what is kept under a key for the scope that is asked about, or makes it."""

    def __call__(self, key: str, make: Callable[[], T]) -> T:
        """The value of `key`, which names everything it depends on but scope and data."""
        ...


def unshared(key: str, make: Callable[[], T]) -> T:
    """Nobody keeps anything: it is made."""
    return make()
