"""Who looks is said in the header and in forms; who may come in is shown to admins."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from dashboard import account
from dashboard.acting import answered
from dashboard.panels import answer
from dashboard.people_desk import Account
from dashboard.routes import page_of
from dashboard.scene import scene_of
from dashboard.url_state import parse
from store.access import Rights, Role

SECRET = "ss_b1946ac92492_a-secret-that-is-shown-once"
PASSWORD = "correct horse battery staple"


class People:
    """Keeps what it is told."""

    def __init__(self, now):
        self.told = []
        self.rows = {name: [] for name in ("users", "tokens", "sessions", "refused", "changes")}
        self.user = {"name": "ana", "role": "admin", "signs_in": "password", "is_disabled": False,
                     "signed_in_at": None, "created_at": now, "created_by": "cli"}  # fmt: skip
        self.token = {"token_id": "b1946ac92492", "name": "agent gpu-3", "scopes": ["ingest"],
                      "state": "valid", "expires_at": now + timedelta(days=3), "used_at": None,
                      "created_at": now, "created_by": "ana"}  # fmt: skip

    def listed(self):
        return self.rows

    def scopes(self):
        return {"viewer": "", "ingest": "send telemetry"}

    def __getattr__(self, name):
        def act(*given, **named):
            self.told.append((name, given, named))
            made = self.token if name.startswith("token") else {**self.user, "user": "ana"}
            return (made, SECRET) if name == "token_add" else made

        return act


@pytest.fixture
def people(fake):
    return People(fake.now)


@pytest.fixture
def services(fake, people):
    """Pages of somebody who has signed in."""
    return replace(fake.services(), people=people, account=lambda: Account("ana", signs_out=True),
                   who=lambda typed: "ana")  # fmt: skip


def text_of(parts):
    """Parts as JSON text."""
    return json.dumps(parts, default=lambda one: one.to_plotly_json())


def panels(services, path, spot=""):
    """What a page's panels show, as text."""
    scene = scene_of(services, parse("/ui/" + "/".join(path), "", "/ui/"), "/ui/")
    shown = [p for p in page_of(scene.address).panels if p.spot.startswith(spot)]
    return text_of([answer(one, scene, services, None, beat=False)[0] for one in shown])


def test_the_menu_says_who_and_signs_out_by_a_form():
    """A name, the role, where it comes from; leaving is a POST."""
    shown = text_of(
        account.menu(Account("ana", signs_out=True), Rights(Role.ADMIN, "your user"), "")
    )

    assert "Account: ana, admin" in shown
    assert "your user" in shown
    assert '"method": "POST"' in shown
    assert '"action": "/sign-out"' in shown


def test_a_token_has_nothing_to_sign_out_of_and_nobody_may_sign_in():
    """Who has not said who they are comes back to the same address."""
    rights = Rights(Role.VIEWER, "not signed in")

    assert "sign-out" not in text_of(account.menu(Account("token x"), rights, ""))
    assert "/sign-in?next=/ui/slo%3Frefresh%3Doff" in text_of(
        account.menu(Account(), rights, "/ui/slo?refresh=off")
    )
    assert account.menu(None, rights, "/ui/") is None


@pytest.mark.parametrize(
    "path", [("alerts",), ("predictors",), ("controller",), ("reports", "weekly")]
)
def test_whoever_signed_in_is_not_asked_for_a_name(fake, services, path):
    """The server would ignore it; others are asked as before."""
    assert "data-who" in panels(fake.services(), path)
    shown = panels(services, path)
    assert "data-who" not in shown
    assert "As ana" in shown


def test_people_are_shown_to_admins_only(fake, services, people):
    """Others read why not; where nobody signs in, what to do about it."""
    people.rows["users"] = [people.user]
    people.rows["tokens"] = [people.token]
    assert "agent gpu-3" in panels(services, ("admin",), "admin-people")
    assert "3 days left" in panels(services, ("admin",), "admin-people")

    fake.rights = Rights(Role.OPERATOR, "your user")
    shown = panels(services, ("admin",), "admin-people")
    assert "Seeing who may come in needs the role admin; you have operator" in shown
    assert "gpu-3" not in shown
    assert "Nobody signs in here" in panels(fake.services(), ("admin",), "admin-people")


def test_nobody_yet_names_the_command(services):
    """An empty store of people says how to add the first."""
    assert "servescope access add NAME --role admin" in panels(services, ("admin",), "admin-people")


def test_a_fresh_token_is_in_the_answer_to_its_wish_alone(services, people):
    """Neither in the sentence, which stays at the foot of the page, nor in the panel."""
    fields = {"name": "agent gpu-3", "scope": "viewer", "also": "ingest, metrics", "days": "90"}

    told = answered(services, {"act": "token-add", "fields": fields})

    assert told.secret == SECRET
    assert SECRET not in told.text
    given = ("agent gpu-3", ["viewer", "ingest", "metrics"], 90.0, "ana")
    assert people.told == [("token_add", given, {})]
    assert SECRET not in panels(services, ("admin",), "admin-people")


def test_a_password_reaches_the_desk_as_typed_and_no_word_of_it_comes_back(
    services, people, caplog
):
    """Blanks at its ends are part of it."""
    fields = {"name": "bob", "role": "viewer", "password": f" {PASSWORD} "}

    told = answered(services, {"act": "user-add", "fields": fields})

    assert people.told == [("user_add", ("bob", "viewer", f" {PASSWORD} ", "ana"), {})]
    assert PASSWORD not in told.text + caplog.text


WISHES = (
    ({"what": "role", "fields": {"role": "viewer"}}, {"role": "viewer"}),
    ({"what": "password", "fields": {"password": PASSWORD}}, {"password": PASSWORD}),
    ({"what": "disable"}, {"is_disabled": True}),
    ({"what": "enable"}, {"is_disabled": False}),
)


@pytest.mark.parametrize(("wish", "wanted"), WISHES)
def test_a_user_is_changed_in_one_thing(services, people, wish, wanted):
    """What was not asked for is not sent."""
    assert answered(services, {"act": "user-change", "user": "ana", **wish}).is_done
    assert people.told == [("user_change", ("ana", "ana"), wanted)]


def test_nonsense_is_refused_and_changes_nothing(services, people):
    """Days that are none, a change that there is none of."""
    days = {"act": "token-add", "fields": {"name": "x", "scope": "viewer", "days": "soon"}}

    assert "no number of days" in answered(services, days).text
    odd = answered(services, {"act": "user-change", "user": "ana", "what": "name"})
    assert not odd.is_done
    assert people.told == []
