"""Roles: every route has a rule, and each role is let through or refused as the rule says."""

from functools import cache

import pytest
from fastapi import APIRouter
from starlette.testclient import TestClient

from servescope.access.scopes import DOORS
from servescope.api import access
from servescope.api.parameters import runtime_of
from servescope.cli.access import refused
from servescope.cli.output import ExitCode
from servescope.config import load, rights
from servescope.reference import openapi
from servescope.server import create_app
from store.access import ACTS, ROLES, Rights, Role
from store.errors import ConfigError, InputError, RoleRefused

SAFE = {"get", "head", "options"}
# What a viewer may ask by POST: it changes nothing.
ASKED_BY_POST = {"/api/v1/sql", "/api/v1/objectives/preview"}


@cache
def operations():
    """(method, path, who may) of all there is, from the description that people read."""
    return [
        (method, path, operation[access.KEY])
        for path, methods in openapi()["paths"].items()
        for method, operation in methods.items()
    ]


def is_refused(answer):
    """Whether a role was too little, and the answer says which is needed and where it is set."""
    body = answer.json() if answer.headers.get("content-type", "").endswith("json") else {}
    if not isinstance(body, dict) or body.get("code") != "role":
        return False
    assert answer.status_code == 403
    assert body["needs_role"] in body["detail"]
    assert "access.role" in body["detail"]
    return True


@pytest.fixture
def door(filled):
    """A server that lets in by the rules, and answers nobody who is let in: that is quick."""

    async def turned_away():
        raise InputError("let in")

    app = create_app(filled)
    app.dependency_overrides[runtime_of] = turned_away
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def test_each_role_is_refused_what_it_may_not_and_nothing_else(door, filled):
    """The matrix of all routes by all roles; whatever else is wrong, the role is told first."""
    for role in ROLES.values():
        filled.everybody = Rights(role, "access.role by default")
        for method, path, who in operations():
            place = path.format_map(dict.fromkeys(("decision_id", "candidate_id"), "1") | NAMES)
            body = {"json": {}} if method in ("post", "put") else {}
            least = Role.__members__.get(who.upper())
            expected = least is not None and role < least
            answer = door.request(method, place, **body)
            assert is_refused(answer) == expected, (role, method, path, who)


NAMES = dict.fromkeys(
    (
        "name",
        "frame",
        "slo",
        "aspect",
        "fingerprint",
        "silence_id",
        "replay_id",
        "verb",
        "run_id",
        "token_id",
        "session_id",
    ),
    "x",
)


def test_what_changes_something_is_for_operators_admins_or_senders():
    """A viewer reads; the two questions that come by POST are named here."""
    for method, path, who in operations():
        if method not in SAFE and path not in ASKED_BY_POST:
            assert who in ("operator", "admin", *DOORS), (method, path)


def test_doors_of_programs_are_opened_by_a_scope_of_their_token():
    """All of them, each with its scope; no role is asked for."""
    doors = {(method, path): who for method, path, who in operations() if who in DOORS}
    assert doors == {
        ("post", "/api/v1/write"): "ingest",
        ("post", "/api/v1/requests"): "ingest",
        ("post", "/api/v1/starts"): "ingest",
        ("post", "/api/v1/alerts/in"): "ingest",
        ("post", "/api/v1/predictions/{name}"): "predict",
        ("post", "/api/v1/agents/{name}/batches"): "ingest",
        ("post", "/api/v1/agents/{name}/heartbeat"): "ingest",
        ("post", "/api/v1/gateways/{name}/rows"): "gateway",
        ("post", "/api/v1/gateways/{name}/heartbeat"): "gateway",
        ("post", "/v1/traces"): "ingest",
        ("post", "/v1/metrics"): "ingest",
        ("post", "/v1/logs"): "ingest",
    }


@pytest.mark.parametrize("dependencies", [[], [access.READS, access.SENDERS]])
def test_a_route_without_exactly_one_rule_stops_the_server_from_being_made(dependencies):
    """Nobody can forget it."""
    router = APIRouter()
    router.add_api_route("/new", lambda: None, methods=["POST"], dependencies=dependencies)
    with pytest.raises(TypeError, match="/new declares"):
        access.describe(router)


def test_a_role_may_what_the_roles_below_it_may():
    """Viewer, operator, admin: each act is possible from its least role on."""
    for name, act in ACTS.items():
        for role in Role:
            assert (Rights(role).why_not(name) == "") == (role >= act.least)


def test_the_refusal_says_the_role_that_is_needed_and_what_gives_the_present_one():
    """Enough to know whom to ask and what to change."""
    with pytest.raises(RoleRefused) as caught:
        Rights(Role.VIEWER, "access.role in servescope.toml").check("freeze")
    assert caught.value.message == (
        "Freezing needs the role operator; you have viewer (access.role in servescope.toml)"
    )


def test_the_role_is_a_setting_and_says_where_it_was_set(tmp_path):
    """From the file, from the environment, or everybody is admin as before."""
    bare = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert rights(load(None, {}, bare)) == Rights(Role.ADMIN, "access.role by default")
    file = tmp_path / "wall.toml"
    file.write_text('[access]\nrole = "viewer"\n', "utf-8")
    assert rights(load(file, {}, bare)) == Rights(Role.VIEWER, "access.role in wall.toml")
    named = {**bare, "SERVESCOPE_ACCESS__ROLE": "operator"}
    assert rights(load(file, {}, named)).set_by == "access.role by SERVESCOPE_ACCESS__ROLE"
    with pytest.raises(ConfigError, match=r"access\.role must be one of: viewer, operator, admin"):
        load(None, {}, {**bare, "SERVESCOPE_ACCESS__ROLE": "root"})


def test_a_command_repeats_the_servers_words_and_ends_as_refused(client, filled):
    """Exit code 5, the sentence of the server, and what to do."""
    filled.everybody = Rights(Role.VIEWER, "access.role in wall.toml")
    error = refused(client.post("/api/v1/controller/freeze", json={}))
    assert error.exit_code is ExitCode.REFUSED
    assert str(error).startswith("Freezing needs the role operator; you have viewer")
    assert "set operator there" in error.hint
