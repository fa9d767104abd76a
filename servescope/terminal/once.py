"""One picture as plain lines: for pipes, CI and terminals without textual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from servescope.terminal import picture

STYLES = {"": "", "bad": "bold red", "watch": "yellow", "dim": "dim"}


def show(document: Mapping[str, Any], console: Console) -> None:
    """Print the whole picture; colours only where the console has them."""
    parts = [picture.age(document), picture.badge(document)]
    head = Text("servescope top", style="bold")
    for words, look in parts:
        head.append("  ").append(words, style=STYLES[look])
    console.print(head)
    words, look = picture.verdict(document)
    console.print(Text(words, style=STYLES[look]))
    console.print()
    tiles = Text("   ").join(
        Text.assemble((f"{tile.label} ", "dim"), (tile.value, STYLES[tile.look] or "bold"))
        for tile in picture.tiles(document)
    )
    console.print(tiles)
    for table in picture.tables(document):
        console.print()
        console.print(_table(table))


def _table(table: picture.Table) -> RichTable | Text:
    if not table.rows:
        return Text(f"{table.title}: {table.why_empty}", style="dim")
    made = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False,
                     padding=(0, 1, 0, 0))  # fmt: skip
    for place, head in enumerate(table.columns):
        is_text = place < table.left
        made.add_column(head, justify="left" if is_text else "right", no_wrap=not is_text,
                        overflow="fold")  # fmt: skip
    for row in table.rows:
        made.add_row(*row.cells, style=STYLES[row.look])
    return made
