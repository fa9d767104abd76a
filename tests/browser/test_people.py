"""Sign in, act, see it in the record under that name, sign out; a sign-in that ends is said."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace

import pytest
import uvicorn
from playwright.sync_api import expect

from servescope.config import load
from servescope.page_services import dashboard_server
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
from store.clock import WallClock
from store.database import Database

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """The real server of a store where ana is admin."""
    home, clock = tmp_path_factory.mktemp("home"), WallClock()
    (home / "servescope.toml").write_text('[access]\nsign_in = "on"\n')
    config = load(home / "servescope.toml", {}, {})
    with socket.socket() as free, Database.open(home / "s.duckdb", config.store, clock) as database:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        runtime = Runtime(config, database, clock, SloBook(None, clock), url)
        runtime.people.desk.user_add("ana", "admin", PASSWORD, "test")
        app = create_app(runtime, wsgi_ui=dashboard_server(runtime))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [free]}, daemon=True)
        thread.start()
        yield SimpleNamespace(url=url, fake=None, runtime=runtime)
        server.should_exit = True
        thread.join(timeout=20)


@pytest.fixture
def visitor(chromium, guarded, make_visitor):
    """Somebody in front of it."""
    made = make_visitor(chromium, guarded)
    yield made
    made.close()


def sign_in(page):
    """Type name and password."""
    page.fill("[name=name]", "ana")
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")


def test_sign_in_act_read_the_record_and_leave(visitor, guarded):
    """What was asked for is there after the sign-in; what was typed outlives its end."""
    page = visitor.page
    page.goto(f"{guarded.url}/ui/admin?refresh=off")
    sign_in(page)
    expect(page).to_have_url(f"{guarded.url}/ui/admin?refresh=off")

    page.fill("#field-name-token-new", "agent gpu-3")
    page.get_by_role("button", name="Make the token").click()
    secret = page.locator(".ss-once code").first.inner_text()
    assert secret.startswith("ss_")
    page.get_by_role("button", name="I have kept it").click()
    row = page.locator("#card-people-changes tr", has_text="access.token-add")
    expect(row).to_contain_text("ana")
    assert secret not in page.content()

    page.fill("#field-name-token-new", "half typed")
    (session,) = guarded.runtime.people.desk.open_sessions()
    guarded.runtime.people.desk.session_end(session["session_id"], "test")
    visitor.looks_again()
    ended = page.get_by_role("alert").filter(has_text="Your sign-in has ended")
    expect(ended).to_be_visible()
    assert page.input_value("#field-name-token-new") == "half typed"
    ended.get_by_role("link", name="Sign in again").click()
    sign_in(page)
    expect(page).to_have_url(f"{guarded.url}/ui/admin?refresh=off")

    page.locator("#shell-account summary").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("Signed out")).to_be_visible()
    assert guarded.runtime.people.desk.open_sessions() == []
