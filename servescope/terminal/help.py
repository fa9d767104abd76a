"""The keys of `servescope top`."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

TEXT = """[b]servescope top[/b] looks; no key changes anything in the fleet.

  tab, shift+tab   next table, the one before
  /                only rows with a text; Esc shows all
  :                go to a table by name: [i]:inst[/i], [i]:slo[/i], [i]:refresh 5[/i]
  p                pause: nothing is asked
  r                pace: 1, 2, 5, 10 s
  up, down         rows
  ?                this
  q                quit

  ● ready   ▲ stands out among its peers   ✕ away

The range is the last 15 minutes; numbers are those of the page Fleet.
Press any key to go back."""


class Help(ModalScreen[None]):
    """Lies over the picture until a key is pressed."""

    CSS = """
    Help { align: center middle; }
    Help Static { width: 76; height: auto; padding: 1 2; border: round $primary;
      background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = []

    def compose(self) -> ComposeResult:
        """The text."""
        yield Static(TEXT)

    def on_key(self) -> None:
        """Any key goes back."""
        self.dismiss()
