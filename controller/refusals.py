"""Who tells the controller something, and why it does not do it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from store.errors import ControllerError


class Conflict(ControllerError):
    """Somebody was faster; `state` is how it stands now."""

    code = "conflict"
    status: ClassVar[int] = 409

    def __init__(self, message: str, state: Mapping[str, Any], hint: str | None = None) -> None:
        super().__init__(message, hint=hint or "look again, then decide anew")
        self.state = dict(state)


class NotAllowed(ControllerError):
    """It would work in another state."""

    code = "refused"
    status: ClassVar[int] = 403


class Missing(ControllerError):
    """There is no such pool or decision."""

    code = "not_found"
    status: ClassVar[int] = 404


@dataclass(frozen=True, slots=True)
class Who:
    """Who wants something.

    Attributes:
        name: of the person or program.
        origin: through which door: "cli", "api", "dashboard".
        comment: why.
    """

    name: str
    origin: str
    comment: str = ""
