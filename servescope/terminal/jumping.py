"""What can be typed after `:`; places and paces, nothing that changes a fleet."""

from __future__ import annotations

from typing import Protocol

PLACES = {"models": "models", "instances": "instances", "tenants": "tenants",
          "objectives": "objectives", "slo": "objectives", "events": "events"}  # fmt: skip
PACES = ("1", "2", "5", "10")


class Jumper(Protocol):
    """The application, as far as a word can move it."""

    def go(self, key: str) -> None:
        """Show a table."""
        ...

    def exit(self) -> None:
        """End."""
        ...

    def action_pause(self) -> None:
        """Pause, or go on."""
        ...

    def action_help(self) -> None:
        """Show the keys."""
        ...

    def warn(self, message: str) -> None:
        """Say that it means nothing."""
        ...

    def set_pace(self, seconds: float) -> None:
        """Ask every so many seconds."""
        ...


def jump(app: Jumper, text: str) -> None:
    """Do what a line says: the beginning of a name is enough.

    Args:
        app: that it moves.
        text: what was typed after the colon.
    """
    word, _, rest = text.strip().lower().partition(" ")
    places = {PLACES[name] for name in PLACES if word and name.startswith(word)}
    if word in ("q", "quit"):
        app.exit()
    elif word in ("p", "pause"):
        app.action_pause()
    elif word in ("?", "h", "help"):
        app.action_help()
    elif word in ("r", "refresh") and rest.strip() in PACES:
        app.set_pace(float(rest))
    elif len(places) == 1:
        app.go(places.pop())
    elif word:
        app.warn(f"no such place: {text.strip()[:40]}. There are: {', '.join(PLACES)},"
                   f" refresh {'|'.join(PACES)}, pause, help, q")  # fmt: skip
