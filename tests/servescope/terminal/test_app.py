"""The application: what is on the screen, what keys do, and what happens without a server."""

import asyncio
from datetime import UTC, datetime

import pytest
from textual.widgets import DataTable, Input, Static

from servescope.terminal.app import KEYS, Top
from servescope.terminal.asking import Answer
from store.clock import VirtualClock

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SMALL = (80, 24)


class Asked:
    """Gives what it is told to give; counts how often it was asked."""

    def __init__(self, document):
        self.answer, self.count = Answer(document), 0

    def ask(self):
        self.count += 1
        return self.answer


@pytest.fixture
def asked(document):
    return Asked(document)


def top(asked, clock=None):
    """An application that asks when it is told to, not on its own."""
    return Top(asked, clock or VirtualClock(NOW), 3600.0)


async def settle(pilot):
    """Until the open question is answered and drawn."""
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def text(app, name):
    return str(app.query_one(f"#{name}", Static).render())


def cells(app):
    table = app.query_one(DataTable)
    return [[str(cell) for cell in table.get_row_at(n)] for n in range(table.row_count)]


async def test_the_first_screen_says_how_the_fleet_stands(asked):
    """Age, badge, verdict, numbers and the models fit into 80 columns and 24 lines."""
    app = top(asked)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        assert "data 30 s old" in text(app, "head")
        assert "controller OFF" in text(app, "head")
        assert text(app, "verdict").startswith("chat-ttft burns at ")
        assert "out tok/s" in text(app, "tiles")
        assert [row[0] for row in cells(app)] == ["llama-70b", "qwen-7b"]
        bottom = app.query_one(DataTable).region.bottom
        assert app.query_one(DataTable).region.height >= 8
        assert bottom <= SMALL[1]


async def test_tab_goes_round_the_tables(asked):
    """Instances with their glyph, tenants, objectives, events, and back."""
    app = top(asked)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        seen = []
        for _ in KEYS:
            await pilot.press("tab")
            seen.append(app.shown)
            if app.shown == "instances":
                assert cells(app)[0][:2] == ["●", "gpu-1:8000"]
            if app.shown == "objectives":
                assert cells(app)[0][:2] == ["chat-ttft", "exhausted"]
        assert seen == [*KEYS[1:], KEYS[0]]
        await pilot.press("shift+tab")
        assert app.shown == KEYS[-1]


async def test_a_filter_keeps_rows_and_escape_gives_all_back(asked):
    """Typed after `/`; kept over the next answer."""
    app = top(asked)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press("slash", "q", "w", "e", "n", "enter")
        assert [row[0] for row in cells(app)] == ["qwen-7b"]
        app.tick()
        await settle(pilot)
        assert [row[0] for row in cells(app)] == ["qwen-7b"]
        assert "/qwen" in text(app, "tabs")
        await pilot.press("escape")
        assert len(cells(app)) == 2


async def test_a_colon_jumps_by_the_beginning_of_a_name(asked):
    """To a table, or to another pace; what means nothing is said."""
    app = top(asked)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press("colon", "t", "e", "n", "enter")
        assert app.shown == "tenants"
        await pilot.press("colon", "r", "space", "1", "0", "enter")
        assert app.refresh_seconds == 10
        await pilot.press("colon", "x", "enter")
        assert app.shown == "tenants"
        assert len(app._notifications) == 1
        assert app.query_one(DataTable).has_focus


async def test_nothing_is_asked_while_paused_nor_twice_at_once(asked):
    """One question at a time, and none after `p`."""
    app = top(asked)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press("p")
        before = asked.count
        app.tick()
        app.tick()
        await settle(pilot)
        assert asked.count == before
        assert "paused" in text(app, "head")
        await pilot.press("p")
        await settle(pilot)
        assert asked.count == before + 1


async def test_a_server_that_is_gone_leaves_the_last_picture_with_its_age(asked, document):
    """Greyed, with the reason; an answer takes it away again."""
    clock = VirtualClock(NOW)
    app = top(asked, clock)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        asked.answer = Answer(None, "http://x: no answer (ConnectError)")
        clock.advance(14)
        app.tick()
        await settle(pilot)
        assert "no answer (ConnectError); this picture is 14 s old; asking again" in text(
            app, "head"
        )
        assert app.query_one("#table").has_class("stale")
        assert len(cells(app)) == 2
        asked.answer = Answer(document)
        app.tick()
        await settle(pilot)
        assert "no answer" not in text(app, "head")
        assert not app.query_one("#table").has_class("stale")


async def test_no_server_from_the_start_is_said(asked):
    """No empty tables that look like an empty fleet."""
    asked.answer = Answer(None, "no server holds this store")
    app = top(asked)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        assert "✕ no server holds this store; asking again" in text(app, "head")
        assert cells(app) == []


async def test_help_lists_the_keys_and_any_key_goes_back(asked):
    """Nothing in it changes a fleet."""
    app = top(asked)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press("question_mark")
        assert "no key changes anything" in str(app.screen.query_one(Static).render())
        await pilot.press("x")
        await pilot.pause()
        assert len(app.screen_stack) == 1


async def test_q_ends_it(asked):
    """At once, also while a line is not open."""
    app = top(asked)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press("q")
        await asyncio.wait_for(pilot.app.workers.wait_for_complete(), 5)
    assert app.return_code == 0


async def test_letters_in_an_open_line_are_letters(asked):
    """`p` and `q` typed into the filter neither pause nor quit."""
    app = top(asked)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press("slash", "p", "q")
        assert app.query_one(Input).value == "pq"
        assert not app.is_paused
