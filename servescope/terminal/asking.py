"""Asking the server for the picture: one question at a time, and what to show when none comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from store.errors import ServescopeError

RANGE = "now-15m"
"""What is looked at: the shortest range that the pages show, up to now."""


class Viewer(Protocol):
    """The server's API, as far as it is used."""

    def view(self, name: str, params: Mapping[str, str]) -> dict[str, Any]:
        """A view as a document."""
        ...

    def close(self) -> None:
        """Give its connections back."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question.

    Attributes:
        document: of the view `top`; None where no answer came.
        trouble: why, in one line; empty when one did.
    """

    document: Mapping[str, Any] | None
    trouble: str = ""


class Asker:
    """Asks for the picture; finds the server again when it is gone.

    Args:
        connect: a way to the server; raises while there is none.
        params: what is asked about.
    """

    def __init__(self, connect: Callable[[], Viewer], params: Mapping[str, str]) -> None:
        self._connect, self._params = connect, {"from": RANGE, **params}
        self._way: Viewer | None = None

    def ask(self) -> Answer:
        """One question; never raises for a server that is gone or in trouble."""
        try:
            return Answer(self.answered())
        except ServescopeError as error:
            self.close()  # it may have come back at another port
            where = f"{error.where}: " if error.where else ""
            return Answer(None, f"{where}{error.message}")

    def answered(self) -> Mapping[str, Any]:
        """The picture.

        Raises:
            ServescopeError: there is no server, or it is in trouble.
        """
        if self._way is None:
            self._way = self._connect()
        return self._way.view("top", self._params)

    def close(self) -> None:
        """Give its connections back; the next question finds the server anew."""
        way, self._way = self._way, None
        if way is not None:
            way.close()
