"""What a page can ask of the file of objectives, and tell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from dashboard.wishes import Wish, typed
from store.errors import InputError

if TYPE_CHECKING:
    from dashboard.services import Services

Document = Mapping[str, Any]
ANYBODY = "dashboard"
MOST_DRAFT = 256 << 10


class SloDesk(Protocol):
    """The text of the objectives; documents of the REST API under /objectives.

    What cannot be done is a `ServescopeError` that says why.
    """

    def read(self) -> Document:
        """text, version, place, problem."""
        ...

    def tried(self, text: str, params: Mapping[str, str]) -> Document:
        """What a draft would have meant on what is stored: problems, rows."""
        ...

    def save(self, text: str, seen: str, by: str) -> Document:
        """Write it over the text of version `seen`."""
        ...


def _save(services: Services, wish: Wish) -> str:
    if services.objectives is None:
        raise InputError("objectives cannot be written here")
    text = str((wish.get("fields") or {})["draft"])
    by = services.who(typed(wish, "by") or ANYBODY)
    made = services.objectives.save(text, str(wish["version"]), by)
    return f"Written to {made['place']}, and in force."


SLO_ACTS: Mapping[str, Callable[[Services, Wish], str]] = {"slo_save": _save}
