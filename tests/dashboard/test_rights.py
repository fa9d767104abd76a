"""What a role does not allow: shown, disabled, with the reason; and refused when asked for."""

from __future__ import annotations

import json

import pytest
from dash import html

from analysis.measure import Empty
from dashboard import control_badge, saved
from dashboard.acting import ACTS as WISHES
from dashboard.acting import answered
from dashboard.forms import button
from dashboard.panels import answer
from dashboard.rights import refusing
from dashboard.routes import page_of
from dashboard.scene import scene_of
from dashboard.url_state import parse
from store import access
from store.access import Rights, Role

SET_BY = "access.role in wall.toml"
# Those on which something can be done.
PAGES = [("alerts",), ("predictors",), ("controller",), ("what-if",), ("reports", "weekly")]


def words_of(parts):
    """Parts as text."""
    return json.dumps(parts, default=lambda one: one.to_plotly_json())


def buttons(part):
    """Every button of a tree."""
    if isinstance(part, list | tuple):
        return [found for one in part for found in buttons(one)]
    if isinstance(part, html.Button):
        return [part]
    return buttons(part.children) if getattr(part, "children", None) is not None else []


def all_of(fake, path):
    """Header, navigation and every panel of a page, as a browser gets them."""
    services = fake.services()
    scene = scene_of(services, parse("/ui/" + "/".join(path), "", "/ui/"), "/ui/")
    panels = [
        answer(one, scene, services, None, beat=False)[0] for one in page_of(scene.address).panels
    ]
    return [*panels, *control_badge.badge(services, scene).inside, *saved.menu(services, scene)]


def test_every_wish_a_page_can_tell_has_a_least_role():
    """A new act without a role is refused before anybody can press it."""
    assert set(WISHES) <= set(access.ACTS)


@pytest.mark.parametrize("role", Role)
def test_a_wish_is_refused_by_the_server_whatever_the_page_showed(fake, role):
    """Posted by hand, each act of a higher role is answered with the role that it needs."""
    fake.rights = Rights(role, SET_BY)
    for act in WISHES:
        told = answered(fake.services(), {"act": act})
        is_refused = "needs the role" in told.text or "needs a sign-in" in told.text
        assert is_refused == (role < access.ACTS[act].least), act
        assert not is_refused or not told.is_done
        assert not is_refused or role is Role.NOBODY or SET_BY in told.text


def test_what_is_refused_is_disabled_says_why_and_stands_below_one_line():
    """The line names the acts by role; a button that is allowed stays as it was."""
    freeze = button("Freeze", {"act": "freeze"})
    save = button("Save", {"act": "slo_save"})
    copy = html.Button("Copy")
    viewer = Rights(Role.VIEWER, SET_BY)
    line, *parts = refusing([html.Div([freeze, save]), copy], viewer, "spot")
    assert line.children == (
        f"You have the role viewer ({SET_BY}). Freezing needs the role operator."
        " Changing objectives needs the role admin."
    )
    assert buttons(parts) == [freeze, save, copy]
    for one in (freeze, save):
        assert getattr(one, "aria-disabled") == "true"
        assert getattr(one, "aria-describedby") == line.id
        assert "needs the role" in one.title
    assert not hasattr(copy, "aria-disabled")

    freeze = button("Freeze", {"act": "freeze"})
    assert refusing([freeze], Rights(Role.OPERATOR, SET_BY), "spot") == [freeze]
    assert not hasattr(freeze, "aria-disabled")


def test_a_viewer_is_not_offered_settings_nor_the_support_file(fake):
    """Admin says which role sees them, instead."""
    fake.rights = Rights(Role.VIEWER, SET_BY)
    shown = words_of(all_of(fake, ("admin",)))
    assert "Seeing settings and threads needs the role operator" in shown
    assert "support" not in shown
    fake.rights = Rights(Role.OPERATOR, SET_BY)
    assert "Download the support file" in words_of(all_of(fake, ("admin",)))


def test_the_first_page_offers_its_buttons_to_admins_alone(fake):
    """Without data: the example and the look around are disabled for everybody else."""
    fake.empty = Empty("nothing_connected", "No source yet.", "")
    fake.rights = Rights(Role.OPERATOR, SET_BY)
    found = {one.children: one for one in buttons(all_of(fake, ()))}
    for name in ("Load the example trace", "Look on this machine"):
        assert "needs the role admin" in found[name].title
        assert getattr(found[name], "aria-disabled") == "true"


def test_a_viewer_finds_no_button_of_any_page_that_would_be_refused(fake):
    """All pages, header and navigation: what carries an act is disabled, and admins find it not."""
    for role, wanted in ((Role.VIEWER, True), (Role.ADMIN, False)):
        fake.rights = Rights(role, SET_BY)
        found = [one for path in PAGES for one in buttons(all_of(fake, path))]
        acting = [one for one in found if getattr(one, "data-act", None)]
        acts = {json.loads(getattr(one, "data-act"))["act"] for one in acting}
        assert {"freeze", "mode", "promote", "silence", "report_run", "save-view"} <= acts
        for one in acting:
            says = "needs the role" in (getattr(one, "title", "") or "")
            assert says is wanted, getattr(one, "data-act")
