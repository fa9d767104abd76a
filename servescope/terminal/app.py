"""`servescope top` as an application: looks, never touches."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widgets import DataTable, Footer, Input, Static

from servescope.terminal import picture
from servescope.terminal.asking import Answer, Asker
from servescope.terminal.help import Help
from servescope.terminal.jumping import jump
from servescope.terminal.once import STYLES
from store.clock import Clock
from store.units import seconds_text

REFRESHES = (1.0, 2.0, 5.0, 10.0)
"""Seconds between questions that can be chosen."""
SPARK = 8
JUMP_HINT = "models, instances, tenants, slo, events, refresh 5, q"
KEYS = ("models", "instances", "tenants", "objectives", "events")


class Top(App[None]):
    """The live picture.

    Args:
        asker: where pictures come from.
        clock: for ages.
        refresh_seconds: one of `REFRESHES`.
    """

    CSS = """
    #head, #verdict, #tiles, #tabs { height: auto; padding: 0 1; }
    #verdict { max-height: 3; }
    #tiles { max-height: 2; }
    #table { height: 1fr; }
    #ask { display: none; height: 3; }
    .stale { opacity: 55%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("slash", "open(False)", "filter", key_display="/"),
        Binding("colon", "open(True)", "jump", key_display=":"),
        Binding("tab", "turn(1)", "next", priority=True),
        Binding("shift+tab", "turn(-1)", "back", show=False, priority=True),
        Binding("p", "pause", "pause"),
        Binding("r", "pace", "1/2/5/10 s"),
        Binding("escape", "leave", "all rows", show=False),
        Binding("q", "quit", "quit"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, asker: Asker, clock: Clock, refresh_seconds: float = 2.0) -> None:
        super().__init__()
        self._asker, self._clock = asker, clock
        self.refresh_seconds = refresh_seconds
        self.is_paused = False
        self.shown = KEYS[0]
        self.filter = ""
        self._document: picture.Document | None = None
        self._trouble = ""
        self._answered_at = self._asked_at = clock.monotonic()
        self._is_asking = False
        self._is_jumping = False
        self._timer: Timer | None = None
        # Kept by name: under the help they are not on the screen that is asked for widgets.
        self._parts = {name: Static(id=name) for name in ("head", "verdict", "tiles", "tabs")}
        self._table: DataTable[Text] = DataTable(id="table", cursor_type="row", zebra_stripes=True)
        self._line = Input(id="ask")

    def compose(self) -> ComposeResult:
        """Header, verdict, tiles, tabs, one table, keys."""
        yield from self._parts.values()
        yield self._table
        yield self._line
        yield Footer()

    def on_mount(self) -> None:
        """Ask at once, then at the pace that was chosen; ages go on between."""
        self.title = "servescope top"
        self.set_interval(1.0, self._draw_head)
        self.set_pace(self.refresh_seconds)
        self._table.focus()
        self.tick()

    def set_pace(self, seconds: float) -> None:
        """Ask every so many seconds from now on."""
        self.refresh_seconds = seconds
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_interval(seconds, self.tick)

    def tick(self) -> None:
        """Ask, unless it is paused or the last question is still open."""
        if self.is_paused or self._is_asking:
            return
        self._is_asking = True
        self._asked_at = self._clock.monotonic()
        self.run_worker(self._ask, thread=True, group="ask")

    def _ask(self) -> None:
        answer = self._asker.ask()
        self.call_from_thread(self._take, answer)

    def _take(self, answer: Answer) -> None:
        self._is_asking = False
        self._trouble = answer.trouble
        if answer.document is not None:
            self._document = answer.document
            self._answered_at = self._clock.monotonic()
        self._draw()

    def _draw(self) -> None:
        self._draw_head()
        is_old = bool(self._trouble)
        for name in ("verdict", "tiles", "tabs"):
            self._parts[name].set_class(is_old, "stale")
        self._table.set_class(is_old, "stale")
        if self._document is None:
            return
        words, look = picture.verdict(self._document)
        self._parts["verdict"].update(Text(words, style=STYLES[look]))
        self._parts["tiles"].update(self._tile_text(self._document))
        self._draw_table(self._document)

    def _draw_head(self) -> None:
        head = Text("servescope top", style="bold")
        if self._document is not None:
            for words, look in (picture.age(self._document), picture.badge(self._document)):
                head.append("  ").append(words, style=STYLES[look])
        pace = "paused" if self.is_paused else f"every {self.refresh_seconds:g} s"
        head.append(f"  {pace}", style="dim")
        if self._trouble:
            seconds = round(self._clock.monotonic() - self._answered_at)
            old = f"; this picture is {seconds_text(seconds)} old" if self._document else ""
            head.append(f"\n✕ {self._trouble}{old}; asking again", style=STYLES["bad"])
        elif self._document is None:
            head.append("  asking the server")
        self._parts["head"].update(head)

    def _tile_text(self, document: picture.Document) -> Text:
        return Text("  ").join(
            Text.assemble((f"{tile.label} ", "dim"), (tile.value, STYLES[tile.look] or "bold"),
                          f" {tile.spark[-SPARK:]}" if tile.spark else "")
            for tile in picture.tiles(document)
        )  # fmt: skip

    def _draw_table(self, document: picture.Document) -> None:
        tables = {table.key: table for table in picture.tables(document)}
        chosen, table = tables[self.shown], self._table
        rows = [row for row in chosen.rows
                if self.filter.lower() in " ".join(row.cells).lower()]  # fmt: skip
        place = table.cursor_row
        table.clear(columns=True)
        for number, head in enumerate(chosen.columns):
            table.add_column(Text(head, justify="left" if number < chosen.left else "right"))
        for row in rows:
            table.add_row(*(
                Text(cell, style=STYLES[row.look], justify="left" if n < chosen.left else "right")
                for n, cell in enumerate(row.cells)))  # fmt: skip
        table.move_cursor(row=min(place, max(len(rows) - 1, 0)))
        self._draw_tabs(tables, len(rows))

    def _draw_tabs(self, tables: dict[str, picture.Table], rows: int) -> None:
        tabs = Text()
        for key in KEYS:
            style = "reverse bold" if key == self.shown else "dim"
            tabs.append(f" {tables[key].title} {len(tables[key].rows)} ", style=style).append(" ")
        if self.filter:
            tabs.append(f" /{self.filter}: {rows} rows, Esc shows all", style=STYLES["watch"])
        elif not tables[self.shown].rows:
            tabs.append(f" {tables[self.shown].why_empty}", style="dim")
        self._parts["tabs"].update(tabs)

    def warn(self, message: str) -> None:
        """Say that something typed means nothing."""
        self.notify(message, severity="warning")

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Help())

    def action_turn(self, step: int) -> None:
        """The next table, or the one before."""
        self.go(KEYS[(KEYS.index(self.shown) + step) % len(KEYS)])

    def go(self, key: str) -> None:
        """Show one table, from its top."""
        self.shown = key
        self._table.move_cursor(row=0)
        if self._document is not None:
            self._draw_table(self._document)

    def action_pause(self) -> None:
        """Ask nothing until it is pressed again."""
        self.is_paused = not self.is_paused
        self._draw_head()
        self.tick()

    def action_pace(self) -> None:
        """The next pace: 1, 2, 5, 10 seconds."""
        later = [seconds for seconds in REFRESHES if seconds > self.refresh_seconds]
        self.set_pace(later[0] if later else REFRESHES[0])
        self._draw_head()

    def action_open(self, is_jumping: bool) -> None:
        """A line to type in: where to go, or what rows must hold."""
        self._is_jumping = is_jumping
        line = self._line
        line.value = "" if is_jumping else self.filter
        line.placeholder = JUMP_HINT if is_jumping else "rows with this text; Enter keeps it"
        line.display = True
        line.focus()

    def action_leave(self) -> None:
        """Close the line; without one show all rows again."""
        line = self._line
        if not line.display or not self._is_jumping:
            self.filter = ""
        self._close_line()

    def _close_line(self) -> None:
        self._line.display = False
        self._table.focus()
        if self._document is not None:
            self._draw_table(self._document)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        if not self._is_jumping and self._line.display and self._document is not None:
            self.filter = event.value
            self._draw_table(self._document)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        if self._is_jumping:
            jump(self, event.value)
        self._close_line()
