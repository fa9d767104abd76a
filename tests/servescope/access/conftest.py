"""A server where people sign in, and clients that do."""

import pytest
from argon2 import PasswordHasher
from starlette.testclient import TestClient

from servescope.access import passwords
from servescope.config import load
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
from store.database import Database

URL = "http://127.0.0.1:8787"
PASSWORD = "correct horse battery staple"
SIGN_IN = {"access.sign_in": "on"}


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch):
    """As the real ones, for a hundredth of the work."""
    passwords._nobodys.cache_clear()
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(1, 8, 1))
    yield
    passwords._nobodys.cache_clear()


@pytest.fixture
def make_guarded(tmp_path, clock):
    """Makes a runtime where people sign in; the settings given come on top."""
    opened = []

    def make(**flags):
        given = {name.replace("__", "."): value for name, value in flags.items()}
        config = load(None, SIGN_IN | given, {"XDG_CONFIG_HOME": str(tmp_path)})
        database = Database.open(tmp_path / "store.duckdb", config.store, clock)
        opened.append(database)
        return Runtime(config, database, clock, SloBook(None, clock), URL)

    yield make
    for database in opened:
        database.close()


@pytest.fixture
def guarded(make_guarded):
    return make_guarded()


@pytest.fixture
def dressed(guarded):
    """The same with one user of each role, and a page."""
    for name, role in (("vera", "viewer"), ("otto", "operator"), ("ada", "admin")):
        guarded.people.desk.user_add(name, role, PASSWORD, "test")
    return guarded


def page(environ, start_response):
    """Stands for the dashboard."""
    start_response("200 OK", [("Content-Type", "text/html")])
    return [b"<!doctype html><title>page</title>"]


page.test_client = lambda: type("Client", (), {"get": lambda _, __: type("A", (), {"data": b""})})()


@pytest.fixture
def open_client():
    """Makes a client of a runtime; each has cookies of its own."""
    clients = []

    def make(runtime, **headers):
        client = TestClient(
            create_app(runtime, wsgi_ui=page), base_url=URL, headers=headers, follow_redirects=False
        )
        clients.append(client)
        return client.__enter__()

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(dressed, open_client):
    return open_client(dressed)


@pytest.fixture
def sign_in():
    """Signs a client in, as a browser does."""

    def do(client, name, password=PASSWORD, **more):
        return client.post(
            "/sign-in", data={"name": name, "password": password, **more}, headers={"Origin": URL}
        )

    return do
