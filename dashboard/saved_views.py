"""What a saved view is, and whom a page tells to keep one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SavedView:
    """One saved view.

    Attributes:
        name: of its file, without the ending.
        title: what people call it.
        path: of its page, below the dashboard's prefix.
        params: state of the page, as in the address.
        problem: why the file cannot be used; None when it can.
    """

    name: str
    title: str
    path: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None


class SavedDesk(Protocol):
    """Where saved views are kept; mistakes and refusals are a `ServescopeError`."""

    def listed(self) -> Sequence[SavedView]:
        """All of them by title, those that cannot be read included."""
        ...

    def save(self, title: str, path: Sequence[str], params: Mapping[str, str]) -> SavedView:
        """Keep a new one; one of that name is never overwritten."""
        ...

    def delete(self, name: str) -> None:
        """Forget one."""
        ...
