"""What a page can tell about models, and how it is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from dashboard.wishes import Wish, typed
from store.errors import InputError

if TYPE_CHECKING:
    from dashboard.services import Services

Document = Mapping[str, Any]
ANYBODY = "dashboard"


class ModelDesk(Protocol):
    """The registry of models; changes raise a `ServescopeError` that says why not."""

    def refused(self) -> Mapping[str, str]:
        """Models that may not answer, with why; those that may are not among them."""
        ...

    def promote(self, model_id: str, seen: str | None, by: str, reason: str) -> Document:
        """Let a model answer from now on; `seen` is the champion that whoever wishes it saw."""
        ...


def _promote(services: Services, wish: Wish) -> str:
    if services.models is None:
        raise InputError("models cannot be changed here")
    reason = typed(wish, "reason")
    if not reason:
        raise InputError("say why it shall answer", hint="the reason is kept in the record")
    seen = wish["seen"]
    made = services.models.promote(
        str(wish["model"]),
        None if seen is None else str(seen),
        services.who(typed(wish, "by") or ANYBODY),
        reason,
    )
    before = f" in place of {made['before']}" if made["before"] else ""
    return f"{made['model_id']} answers from now on{before}."


MODEL_ACTS: Mapping[str, Callable[[Services, Wish], str]] = {"promote": _promote}
