"""Objectives as text: what a draft would have meant is shown before it can be saved."""

import json
from dataclasses import replace

import pytest
from plotly.utils import PlotlyJSONEncoder

from dashboard.acting import answered
from dashboard.pages import slo_edit
from dashboard.scene import scene_of
from dashboard.services import Services
from dashboard.url_state import parse
from store.errors import InputError

ROW = {
    "name": "chat-ttft", "change": "changed", "attainment_ratio_now": 0.993,
    "attainment_ratio_draft": 0.981, "budget_left_ratio_now": 0.3, "budget_left_ratio_draft": -0.9,
    "attempted_draft": 14_201, "status_draft": "exhausted",
}  # fmt: skip
GONE = {**ROW, "name": "old", "change": "removed", "attainment_ratio_draft": None,
        "budget_left_ratio_draft": None, "attempted_draft": None, "status_draft": None}  # fmt: skip


class FakeObjectives:
    """A text, and what was saved."""

    def __init__(self, problem=None) -> None:
        self.saved: list[tuple] = []
        self.problem = problem

    def read(self):
        """Version 7."""
        if self.problem:
            raise InputError(self.problem, hint="servescope slo init")
        return {"text": "[[slo]]", "version": "7", "place": "/etc/slo.toml", "problem": None}

    def tried(self, text, params):
        """Two objectives."""
        return {"problems": [], "rows": [ROW, GONE]}

    def save(self, text, seen, by):
        """Remember it."""
        self.saved.append((text, seen, by))
        return self.read()


def services(fake, desk):
    """Those of the fakes, with a file of objectives."""
    made = fake.services()
    assert isinstance(made, Services)
    return replace(made, objectives=desk)


def scene(given):
    """The list of objectives."""
    return scene_of(given, parse("/ui/slo", "", "/ui/"), "/ui/")


def words(parts):
    """All that is sent to the browser."""
    return json.dumps(parts, cls=PlotlyJSONEncoder, ensure_ascii=False)


def test_the_text_is_there_with_where_it_is_kept(fake):
    """Nobody has to look for the file."""
    given = services(fake, FakeObjectives())
    shown = words(list(slo_edit.edit_body(None, scene(given), given)))
    assert "/etc/slo.toml" in shown
    assert "[[slo]]" in shown
    assert '\\"version\\": \\"7\\"' in shown


def test_a_server_without_a_file_says_how_to_make_one(fake):
    """And offers nothing that cannot work."""
    given = services(fake, FakeObjectives("this server has no file of objectives"))
    shown = words(list(slo_edit.edit_body(None, scene(given), given)))
    assert "servescope slo init" in shown
    assert "Save" not in shown
    assert slo_edit.edit_body(None, scene(given), fake.services()) == []


def test_a_draft_is_shown_beside_what_is_in_force(fake):
    """Overspent is negative, never clamped; what goes has no number."""
    given = services(fake, FakeObjectives())
    shown = words(slo_edit.result(given.objectives.tried("", {}), scene(given)))
    assert "99.30 % → 98.10 %" in shown
    assert "30.00 % → -90.00 %" in shown
    assert "99.30 % → \N{EN DASH}" in shown
    assert "gone" in shown


@pytest.mark.parametrize(("severity", "is_judged"), [("error", False), ("warning", True)])
def test_mistakes_come_with_their_line(fake, severity, is_judged):
    """A warning is said beside the numbers, a mistake instead of them."""
    given = services(fake, FakeObjectives())
    problem = {"where": "draft:4", "message": "no number", "hint": "", "severity": severity}
    shown = words(slo_edit.result({"problems": [problem], "rows": [ROW]}, scene(given)))
    assert "draft:4: no number" in shown
    assert ("99.30 %" in shown) is is_judged


def test_saving_names_the_version_that_was_seen(fake):
    """A long draft arrives whole."""
    desk = FakeObjectives()
    wish = {"act": "slo_save", "version": "7", "fields": {"draft": "# new\n" * 200, "by": "ana"}}
    told = answered(services(fake, desk), wish)
    assert told.is_done
    assert desk.saved == [("# new\n" * 200, "7", "ana")]
    assert not answered(fake.services(), wish).is_done
