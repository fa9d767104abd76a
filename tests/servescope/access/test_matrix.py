"""Every route by everybody who may come: what is let through is what the description says."""

from functools import cache

import pytest
from starlette.routing import Mount, Route

from servescope.access.identify import COOKIE
from servescope.access.scopes import DOORS, doors_of
from servescope.api.access import ANYBODY, KEY
from servescope.api.parameters import runtime_of
from servescope.reference import openapi
from store.access import ROLES, Role
from store.errors import InputError

# Anybody may open these, and nothing else, where people sign in.
PUBLIC = {"/", "/healthz", "/readyz", "/api/v1", "/metrics", "/sign-in", "/sign-out",
          "/sign-in/oidc", "/sign-in/oidc/back"}  # fmt: skip
URL = "http://127.0.0.1:8787"
NAMES = {"viewer": "vera", "operator": "otto", "admin": "ada"}


@cache
def operations():
    """(method, path, who may) of all there is, from the description that people read."""
    return [
        (method, path, operation[KEY])
        for path, methods in openapi()["paths"].items()
        for method, operation in methods.items()
    ]


def concrete(path):
    """A path with something in its places."""
    numbers = dict.fromkeys(("decision_id", "candidate_id"), "1")
    words = dict.fromkeys(path.replace("}", "{").split("{")[1::2], "x")
    return path.format_map(words | numbers)


@pytest.fixture
def callers(dressed, client, sign_in):
    """name -> headers, role, doors; the server answers nobody who is let in: that is quick."""

    async def turned_away():
        raise InputError("let in")

    def token(name, *scopes):
        made = desk.token_add(name, scopes, None, "test")
        return made[0]["token_id"], {"Authorization": f"Bearer {made[1]}"}

    desk = dressed.people.desk
    ended_id, ended = token("ended", "admin")
    desk.token_end(ended_id, "test")
    local = {"Authorization": f"Bearer {dressed.people.local_key}"}
    found = {
        "nobody": ({}, Role.NOBODY, frozenset()),
        "local": (local, Role.ADMIN, frozenset(DOORS)),
        "ended": (ended, Role.NOBODY, frozenset()),
    }
    for word, role in ROLES.items():
        found[word] = (token(word, word)[1], role, doors_of(role))
        assert sign_in(client, NAMES[word]).status_code == 303
        cookie = f"{COOKIE}={client.cookies[COOKIE]}"
        client.cookies.clear()
        found[f"{word} signed in"] = ({"Cookie": cookie, "Origin": URL}, role, doors_of(role))
    for door in DOORS:
        found[door] = (token(door, door)[1], Role.NOBODY, frozenset({door}))
    client.app.dependency_overrides[runtime_of] = turned_away
    return found


def test_every_route_by_every_caller(client, callers):
    """Whatever else is wrong with a request, who asks is looked at first."""
    for name, (headers, role, doors) in callers.items():
        for method, path, who in operations():
            body = {"json": {}} if method in ("post", "put", "patch") else {}
            answer = client.request(method, concrete(path), headers=headers, **body)
            may = who == ANYBODY or who in doors or (who in ROLES and role >= ROLES[who])
            if name == "ended":  # a token that holds for nothing is told so everywhere, and slowed
                assert answer.status_code in (401, 429), (name, method, path)
            else:
                assert _refused(answer) == (not may), (name, method, path, answer.status_code)


def test_nobody_is_told_to_sign_in_and_who_may_not_is_told_the_role(client, callers):
    """401 with a hint for who has said nothing, 403 with the role for who has."""
    answer = client.get("/api/v1/views")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "sign in on the dashboard, or send a token" in answer.json()["hint"]
    answer = client.post("/api/v1/controller/freeze", json={}, headers=callers["viewer"][0])
    assert (answer.status_code, answer.json()["needs_role"]) == (403, "operator")


def test_what_nobody_described_is_shut_all_the_same(client):
    """Paths that are no part of the description, and methods that no route has."""
    beside = {route.path for route in client.app.routes if isinstance(route, Route)}
    beside |= {f"{route.path}/x" for route in client.app.routes if isinstance(route, Mount)}
    assert {"/metrics", "/ui/x", "/api/v1/openapi.json"} <= beside
    for path in {concrete(path) for _, path, _ in operations()} | beside | {"/no/such/place"}:
        for method in ("GET", "POST", "DELETE", "PROPFIND"):
            is_shut = client.request(method, path).status_code == 401
            assert is_shut == (path not in PUBLIC), (method, path)


def test_a_new_route_without_a_rule_is_in_nobodys_reach(client):
    """Added past `describe`, as a mistake would be."""
    client.app.add_api_route("/api/v1/forgotten", lambda: "secret")
    assert client.get("/api/v1/forgotten").status_code == 401


def _refused(answer):
    if answer.status_code not in (401, 403):
        return False
    kind = answer.headers.get("content-type", "")
    return "json" in kind and answer.json().get("code") in ("role", "sign_in")
