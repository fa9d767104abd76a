"""Coming in and going out by the sign-in page, as a browser does it."""

import string
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servescope.access.entrance import Browser
from servescope.access.gate import safe_next
from servescope.access.identify import COOKIE
from store.errors import StoreFull

PASSWORD = "correct horse battery staple"
URL = "http://127.0.0.1:8787"
HTML = {"Accept": "text/html,*/*"}
SAME = {"Origin": URL}


def audited(runtime):
    """(who, what, about) of the record of changes."""
    runtime.database.writer.flush()
    frame = runtime.database.reader.frame("SELECT actor, action, subject FROM audit")
    return set(frame.iter_rows())


def me(client):
    answer = client.get("/api/v1/access/me")
    return answer.json().get("name") if answer.status_code == 200 else None


def test_a_page_leads_to_the_sign_in_and_the_sign_in_back_to_it(client, sign_in):
    """Where somebody wanted to go is where they get."""
    answer = client.get("/ui/latency?from=now-3h", headers=HTML)
    assert answer.headers["location"] == "/sign-in?next=/ui/latency%3Ffrom%3Dnow-3h"
    page = client.get(answer.headers["location"])
    assert 'name="next" value="/ui/latency?from=now-3h"' in page.text
    answer = sign_in(client, "vera", next="/ui/latency?from=now-3h")
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/latency?from=now-3h")
    assert client.get("/ui/", headers=HTML).status_code == 200
    assert me(client) == "vera"


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(client, sign_in):
    """HttpOnly, SameSite=Strict; a random word of which the file holds only a hash."""
    told = sign_in(client, "vera").headers["set-cookie"]
    assert "HttpOnly" in told
    assert "SameSite=strict" in told
    assert "Secure" not in told  # plain HTTP on loopback; see below
    file = client.app.state.runtime.database.path.with_name("store.duckdb.access")
    assert client.cookies[COOKIE].encode() not in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0


def test_behind_https_the_cookie_never_travels_in_the_clear(make_guarded, open_client, sign_in):
    """`server.public_url` says how browsers come."""
    runtime = make_guarded(server__public_url="https://fleet.example")
    runtime.people.desk.user_add("vera", "viewer", "correct horse battery staple", "test")
    assert "Secure" in sign_in(open_client(runtime), "vera").headers["set-cookie"]


@pytest.mark.parametrize(("name", "password"), [
    ("vera", "wrong password here"), ("nobody", "correct horse battery staple"), ("", ""),
    ("vera", "x" * 5_000), ("\N{ZERO WIDTH SPACE}\x00", "never shown"),
])  # fmt: skip
def test_a_refusal_does_not_say_whether_the_name_exists(client, sign_in, name, password):
    """The same words and status for a wrong name and a wrong password, and no session."""
    answer = sign_in(client, name, password)
    assert answer.status_code == 401
    assert "This name and this password do not fit." in answer.text
    assert COOKIE not in client.cookies
    assert password not in answer.text or not password


def test_guessing_is_slowed_and_the_right_password_waits_as_well(client, clock, sign_in):
    """Ten at once, then six a minute; an attacker cannot go on, whatever comes."""
    codes = [sign_in(client, "vera", f"guess number {n}").status_code for n in range(12)]
    assert codes == [401] * 10 + [429] * 2
    answer = sign_in(client, "vera")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 10
    clock.advance(11)
    assert sign_in(client, "vera").status_code == 303


def test_names_that_are_typed_never_become_markup(client, sign_in):
    """The name comes back in the form, escaped."""
    answer = sign_in(client, '"><script>alert(1)</script>', "x")
    assert "<script>" not in answer.text


def test_another_site_can_neither_sign_in_nor_out_nor_act(client, sign_in):
    """Refused before anything else; so is what does not say from where it comes."""
    evil = {"Origin": "http://evil.example"}
    body = {"name": "vera", "password": "correct horse battery staple"}
    assert client.post("/sign-in", data=body, headers=evil).status_code == 403
    sign_in(client, "otto")
    act, body = "/api/v1/reports/schedules/x/enable", {"json": {}}
    refused = client.post(act, headers=evil, **body)
    silent = client.post(act, **body)
    assert (refused.status_code, silent.status_code) == (403, 403)
    assert silent.json()["code"] == "cross_site"
    assert client.post(act, headers=SAME, **body).status_code not in (401, 403)
    assert client.post("/sign-out", headers=evil).status_code == 403
    assert me(client) == "otto"


def test_a_link_from_a_mail_opens_for_who_is_signed_in(client, sign_in):
    """The strict cookie is not sent with it; the page asks again by itself, and is."""
    sign_in(client, "vera")
    held = client.cookies[COOKIE]
    client.cookies.clear()
    link = {**HTML, "Sec-Fetch-Site": "cross-site"}
    page = client.get("/ui/alerts?x=%22%3E", headers=link)
    assert page.status_code == 200
    assert 'content="0;url=/ui/alerts?x=%22%3E"' in page.text
    again = {**HTML, "Sec-Fetch-Site": "same-origin", "Cookie": f"{COOKIE}={held}"}
    assert client.get("/ui/alerts", headers=again).text.startswith("<!doctype html><title>page")


def test_signing_out_ends_the_session_on_the_server(client, sign_in):
    """A cookie that was copied before opens nothing after."""
    sign_in(client, "vera")
    held = client.cookies[COOKIE]
    assert client.post("/sign-out", headers=SAME).status_code == 200
    assert (
        client.get("/api/v1/access/me", headers={"Cookie": f"{COOKIE}={held}"}).status_code == 401
    )
    assert ("vera", "access.sign-out", "vera") in audited(client.app.state.runtime)


@pytest.mark.parametrize(("pause_hours", "times", "is_in"), [(3.9, 3, True), (4.1, 1, False),
                                                             (3.5, 4, False)])  # fmt: skip
def test_a_session_ends_when_it_is_silent_and_after_half_a_day(
    client, clock, sign_in, pause_hours, times, is_in
):
    """Idle for four hours, or twelve hours in all, whatever was done."""
    sign_in(client, "vera")
    for _ in range(times):
        clock.advance(pause_hours * 3_600)
        name = me(client)
    assert (name == "vera") == is_in


@pytest.mark.parametrize("change", [{"password": "another long password"}, {"is_disabled": True}])
def test_a_new_password_or_a_disabled_user_ends_all_sessions(client, dressed, sign_in, change):
    """At once, in this very server."""
    sign_in(client, "vera")
    dressed.people.desk.user_change("vera", "ada", **change)
    assert me(client) is None
    if "password" in change:
        assert sign_in(client, "vera", change["password"]).status_code == 303
    else:
        assert sign_in(client, "vera").status_code == 401


def test_another_role_counts_from_the_next_request_on(client, dressed, sign_in):
    """No new sign-in is needed to lose, or gain, a right."""
    sign_in(client, "otto")
    dressed.people.desk.user_change("otto", "ada", role="viewer")
    answer = client.post("/api/v1/controller/freeze", json={}, headers=SAME)
    assert answer.json()["role"] == "viewer"


def test_what_another_process_changes_is_seen_within_a_second(client, clock, dressed, sign_in):
    """A command on the same machine, or another server, writes the same file."""
    from servescope.access.assembly import People

    sign_in(client, "vera")
    config = dressed.config
    other = People(dressed.database, clock, config.access, config.oidc, "")
    other.desk.user_change("vera", "cli", is_disabled=True)
    clock.advance(1.1)
    assert me(client) is None


def test_who_signed_in_at_another_server_just_now_is_known_here(
    dressed, clock, open_client, sign_in
):
    """Behind a balancer the next request may come to either."""
    from servescope.access.assembly import People

    one = open_client(dressed)
    one.get("/healthz")
    config = dressed.config
    other = People(dressed.database, clock, config.access, config.oidc, "")
    browser = Browser("10.0.0.1", "Browser")
    secret = other.entrance.by_password("vera", PASSWORD, browser)
    clock.advance(0.1)
    answer = one.get("/api/v1/access/me", headers={"Cookie": f"{COOKIE}={secret}"})
    assert answer.json()["name"] == "vera"


def test_a_full_disk_is_said_where_somebody_signs_in(client, dressed, sign_in, monkeypatch):
    """With words and 503, not a fault of ours."""

    def full(*_):
        raise StoreFull("the file of users and tokens cannot be used", hint="free some space")

    monkeypatch.setattr(dressed.people.book.identities, "add_session", full)
    answer = sign_in(client, "vera")
    assert answer.status_code == 503
    assert "Free some space." in answer.text


def test_what_is_recorded_is_who_signed_in_whatever_was_typed(client, sign_in):
    """A name in the body cannot put a change down to somebody else."""
    sign_in(client, "ada")
    body = {"name": "ci", "scopes": ["viewer"], "by": "otto"}
    made = client.post("/api/v1/access/tokens", json=body, headers=SAME).json()
    assert made["created_by"] == "ada"
    found = audited(client.app.state.runtime)
    assert ("ada", "access.token-add", made["token_id"]) in found
    assert ("ada", "access.sign-in", "ada") in found


def test_refused_attempts_are_in_the_record(client, sign_in):
    """With the name that was tried, so that somebody can look into it."""
    sign_in(client, "vera", "not the password")
    assert ("vera", "access.sign-in-refused", "vera") in audited(client.app.state.runtime)


def test_where_nobody_signs_in_the_pages_of_the_entrance_lead_home(filled, open_client):
    """A bookmark of the sign-in does not lead into nothing."""
    client = open_client(filled)
    assert client.get("/sign-in").headers["location"] == "/ui/"
    assert client.get("/api/v1/access/me").json()["kind"] == "everybody"


def test_anonymous_viewers_look_and_cannot_act(make_guarded, open_client):
    """A wall screen beside people who sign in."""
    client = open_client(make_guarded(access__anonymous="viewer"))
    assert client.get("/ui/", headers=HTML).status_code == 200
    assert client.get("/api/v1/views").status_code == 200
    answer = client.post("/api/v1/controller/freeze", json={})
    assert (answer.status_code, answer.json()["role"]) == (403, "viewer")


def test_sessions_are_listed_and_ended_by_an_admin(client, dressed, sign_in):
    """Who is in, from where; and out they are."""
    sign_in(client, "vera")
    session = dressed.people.desk.open_sessions()[0]
    assert (session["user"], session["way"], session["address"]) == (
        "vera",
        "password",
        "testclient",
    )
    local = {"Authorization": f"Bearer {dressed.people.local_key}"}
    client.delete(f"/api/v1/access/sessions/{session['session_id']}", headers=local)
    assert me(client) is None
    assert dressed.people.desk.open_sessions() == []


PLACES = st.text(string.printable, max_size=40)


@given(st.one_of(PLACES, PLACES.map(lambda t: "/ui/" + t), PLACES.map(lambda t: "//" + t),
                 PLACES.map(lambda t: "https://evil.example/" + t)))  # fmt: skip
def test_a_sign_in_leads_to_no_other_site(asked):
    """Whatever stands behind `next`, a browser stays on this server's pages."""
    place = safe_next(asked)
    assert place.startswith("/ui/")
    assert "\\" not in place
    assert not place.startswith("//")


def test_expired_sessions_are_forgotten(client, clock, dressed, sign_in):
    """The file does not grow with every sign-in there ever was."""
    sign_in(client, "vera")
    clock.advance(timedelta(hours=13).total_seconds())
    sign_in(client, "otto")
    dressed.people.book.note()
    assert {row["user"] for row in dressed.people.desk.open_sessions()} == {"otto"}
    assert len(dressed.people.book.identities.known().sessions) == 1
