"""The Reports page: what became of the last one, what is next, and what can be done."""

import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.measure import Empty
from dashboard.acting import answered
from dashboard.panels import answer
from dashboard.routes import page_of
from store.errors import QueryTimeout

HERE = Path(__file__).parent


def pages():
    """The helpers of the tests of pages, loaded by their path."""
    name = "servescope_dashboard_test_pages"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / "test_pages.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def drawn(fake, path=""):
    """The page as text."""
    return pages().drawn(fake, f"/ui/reports{path}")


def test_the_list_says_what_became_and_what_is_next_in_its_own_zone(fake):
    """With recipients, and with the reason where it failed or rests."""
    text = drawn(fake)
    for words in ("● sent", "4 charts, 118.2 KiB", "✕ failed", "HTTP 503: overloaded (4 attempts)",
                  "23 Nov 2026 08:00:00 Europe/Berlin", "mail, room: team@example.org",
                  "never made", "disabled by bo", "nobody: it has no channel"):  # fmt: skip
        assert words in text, words


def test_what_failed_is_the_first_thing_said(fake):
    """A manager's report that never came must not be looked for in a table."""
    text = drawn(fake)
    assert text.index("board for 2026-10 failed") < text.index("What is sent, when, to whom?")


def test_one_schedule_shows_its_attempts_and_its_files(fake):
    """Every answer of a channel; files open in a window of their own."""
    text = drawn(fake, "/board")
    assert text.count("HTTP 503: overloaded") >= 4
    assert "/api/v1/reports/runs/board.2026-10.1/files/weekly-2026-W46.html" in text
    assert "2026-W46.1" not in text, "reports of other schedules are left out"


def test_a_button_that_cannot_be_used_says_why(fake):
    """A written schedule is not removed here; one without a channel is not sent."""
    assert "It stands in servescope.toml: change it there." in drawn(fake, "/weekly")
    assert "It has no channel: name one below." in drawn(fake, "/quiet")
    fake.reports.channels = []
    assert "No channel is configured" in drawn(fake, "/board")


def test_nothing_scheduled_says_what_reports_are_for(fake):
    """And leads to the form."""
    real = fake.view("reports", {})
    frames = {name: frame.clear() for name, frame in real.frames.items()}
    none = Empty("nothing_connected", "No report is scheduled yet.")
    fake.view = lambda name, params, **options: replace(real, frames=frames, empty=none)
    text = drawn(fake)
    assert "No report is scheduled yet." in text
    assert "/ui/reports/new" in text


def test_a_schedule_that_does_not_exist_says_so(fake):
    """With the way back."""
    assert "No schedule is called nothing." in drawn(fake, "/nothing")


def test_a_question_that_fails_keeps_the_picture(fake):
    """And says when it is from."""
    helpers = pages()
    scene = helpers.scene_at(fake, "/ui/reports")
    panel = page_of(scene.address).panels[0]
    shown = {"at": scene.now.isoformat(), "search": "", "parts": []}
    fake.failing = QueryTimeout("a query took 10 s")
    body, note, _ = answer(panel, scene, fake.services(), shown, beat=False)
    assert "10 s" in helpers.words(note)
    assert "NoUpdate" in str(type(body))


def test_the_form_saves_what_was_typed(fake):
    """Commas between several; what is empty is left out."""
    fields = {"name": "chat", "template": "daily", "when": "daily 07:00", "zone": "",
              "formats": "html, pdf", "channels": "mail,room", "recipients": "", "source": "",
              "model": "llama", "tenant": "", "by": "ann"}  # fmt: skip
    told = answered(fake.services(), {"act": "report_save", "replace": False, "fields": fields})
    assert told.is_done, told.text
    assert told.text == "chat is kept; it is next due at 2026-11-23 07:00 UTC."
    ((_, table, by, may_replace),) = fake.reports.told
    assert (by, may_replace, table["zone"]) == ("ann", False, "UTC")
    assert (table["formats"], table["channels"]) == (("html", "pdf"), ("mail", "room"))
    assert {key: one for key, one in table["scope"].items() if one} == {"model": "llama"}
    wrong = {"act": "report_save", "fields": {**fields, "when": "now and then"}}
    refused = answered(fake.services(), wrong)
    assert (refused.is_done, "is no schedule" in refused.text) == (False, True)


@pytest.mark.parametrize(
    ("wish", "told", "words"),
    [
        ({"act": "report_run"}, ("run", "weekly", "dashboard", "2026-W40", False),
         "sent to nobody"),
        ({"act": "report_run", "send": True}, ("run", "weekly", "dashboard", "2026-W40", True),
         "sent to its channels"),
        ({"act": "report_test"}, ("test", "weekly", "dashboard", "mail", ["a@example.org"]),
         "A test of weekly goes to mail"),
        ({"act": "report_switch", "on": False}, ("switch", "weekly", "dashboard", False), "rests"),
        ({"act": "report_remove"}, ("remove", "weekly", "dashboard"), "is removed"),
    ],
)  # fmt: skip
def test_each_button_tells_the_server_one_thing(fake, wish, told, words):
    """And gets one sentence back."""
    fields = {"period": "2026-W40", "channel": "mail", "to": "a@example.org"}
    answer_ = answered(fake.services(), {**wish, "schedule": "weekly", "fields": fields})
    assert words in answer_.text
    assert fake.reports.told == [told]


def test_without_a_desk_the_page_only_shows(fake):
    """No button and no form."""
    fake.reports = None
    text = drawn(fake, "/weekly")
    assert "● sent" in text
    assert "data-act" not in text


def test_every_button_of_the_page_has_a_label(fake):
    """For screen readers; and what it tells is one of the acts."""
    from dashboard.acting import ACTS

    text = drawn(fake, "/board")
    acts = [json.loads(json.loads(f'"{one}"'))["act"]
            for one in re.findall(r'"data-act": "(.*?)(?<!\\)"', text)]  # fmt: skip
    assert set(acts) <= set(ACTS)
    assert {"report_run", "report_test", "report_switch", "report_remove", "report_save"} <= set(
        acts
    )
