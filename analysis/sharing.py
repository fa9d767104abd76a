"""Work that several views of one scope have in common: done once where somebody keeps it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Sharing(Protocol):
    """Gives what is kept under a key for the scope that is asked about, or makes it."""

    def __call__(self, key: str, make: Callable[[], T], *, is_told: bool = False) -> T:
        """The value of `key`, which names everything it depends on but scope and data.

        Args:
            key: a name.
            make: makes it.
            is_told: whether it is made of what people and jobs tell, not of requests and samples:
                then it is as new as that, however young it is.
        """
        ...


def unshared(key: str, make: Callable[[], T], *, is_told: bool = False) -> T:
    """Nobody keeps anything: it is made."""
    return make()
