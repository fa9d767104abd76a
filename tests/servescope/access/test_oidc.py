"""Signing in at a provider: a real one over a socket, and one that lies."""

import time
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from joserfc import jwk, jwt

from servescope.access.identify import COOKIE
from servescope.access.oidc import Oidc, OidcFailed, Trip
from servescope.access.settings import OidcSettings
from store.access import Role
from store.errors import ConfigError

oidc_provider_mock = pytest.importorskip(
    "oidc_provider_mock", reason="no provider: pip install oidc-provider-mock"
)
HTML = {"Accept": "text/html"}
ROLES = {"sre": "operator", "platform": "admin"}
USERS = {
    "1": {"preferred_username": "Ana", "groups": ["sre", "all"]},
    "2": {"preferred_username": "Ben", "groups": ["platform", "sre"]},
    "3": {"preferred_username": "Eve", "groups": ["guests"]},
    "4": {"email": "dan@example.org", "groups": "sre"},
    "5": {"preferred_username": "vera", "groups": ["platform"]},
}


@pytest.fixture(scope="module")
def issuer():
    users = [oidc_provider_mock.User(sub=sub, claims=claims) for sub, claims in USERS.items()]
    with oidc_provider_mock.run_server_in_thread(user_claims=users) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
def settings(issuer, tmp_path):
    secret = tmp_path / "client-secret"
    secret.write_text("not very\n", "utf-8")
    return {
        "server__public_url": "http://127.0.0.1:8787", "oidc__issuer": issuer,
        "oidc__client_id": "servescope", "oidc__client_secret_file": str(secret),
        "oidc__roles": ROLES, "oidc__label": "Example & Co",
    }  # fmt: skip


@pytest.fixture
def runtime(make_guarded, settings):
    return make_guarded(**settings)


@pytest.fixture
def client(runtime, open_client):
    return open_client(runtime)


def come_back(client, sub):
    """Go to the provider, say who one is there, and come back."""
    away = client.get("/sign-in/oidc?next=/ui/slo", headers=HTML).headers["location"]
    asked = parse_qs(urlsplit(away).query)
    assert asked["code_challenge_method"] == ["S256"]
    told = httpx2.post(away, data={"sub": sub}, trust_env=False)
    back = urlsplit(told.headers["location"])
    return client.get(f"{back.path}?{back.query}", headers=HTML)


def test_groups_at_the_provider_become_roles_here(client):
    """Somebody new is noted; the page leads on to where they wanted to go."""
    page = client.get("/sign-in")
    assert "Example &amp; Co" in page.text
    answer = come_back(client, "1")
    assert 'content="0;url=/ui/slo"' in answer.text
    told = client.get("/api/v1/access/me").json()
    assert (told["name"], told["role"], told["set_by"]) == ("ana", "operator", "your groups")
    users = client.app.state.runtime.people.desk.users()
    assert [(user["name"], user["signs_in"]) for user in users] == [("ana", "elsewhere")]


@pytest.mark.parametrize(
    ("sub", "name", "role"), [("2", "ben", "admin"), ("4", "dan@example.org", "operator")]
)
def test_the_highest_group_counts_and_a_name_is_found(client, sub, name, role):
    """Groups may be a list or one word; without a user name the mail address is taken."""
    come_back(client, sub)
    told = client.get("/api/v1/access/me").json()
    assert (told["name"], told["role"]) == (name, role)


def test_who_has_no_group_is_told_and_stays_out(client):
    """Nothing is noted of them."""
    answer = come_back(client, "3")
    assert answer.status_code == 403
    assert "Eve has no group that gives a role here" in answer.text
    assert COOKIE not in client.cookies
    assert client.app.state.runtime.people.desk.users() == []


def test_a_default_role_lets_everybody_in(make_guarded, settings, open_client):
    """Where the provider's users are all colleagues."""
    client = open_client(make_guarded(**settings, oidc__default_role="viewer"))
    come_back(client, "3")
    assert client.get("/api/v1/access/me").json()["role"] == "viewer"


def test_a_name_that_signs_in_here_cannot_be_taken_over(client):
    """The provider calls somebody like a local user: an admin has to decide."""
    client.app.state.runtime.people.desk.user_add("vera", "viewer", "a long password", "test")
    answer = come_back(client, "5")
    assert answer.status_code == 400
    assert "there is a user vera here who signs in by password" in answer.text.lower()
    assert COOKIE not in client.cookies


def test_disabled_here_is_out_whatever_the_provider_says(client):
    """An admin's word is the last."""
    come_back(client, "1")
    client.app.state.runtime.people.desk.user_change("ana", "test", is_disabled=True)
    client.cookies.clear()
    assert come_back(client, "1").status_code == 401
    assert COOKIE not in client.cookies


def test_a_way_back_that_was_not_begun_here_leads_nowhere(client, runtime, open_client):
    """Another browser's code, a second use, or a state made up."""
    away = client.get("/sign-in/oidc", headers=HTML).headers["location"]
    told = httpx2.post(away, data={"sub": "2"}, trust_env=False)
    back = urlsplit(told.headers["location"])
    victim = open_client(runtime)
    for other in (victim, client):
        state = "&state=made-up" if other is client else ""
        answer = other.get(f"{back.path}?{back.query}{state}", headers=HTML)
        assert answer.status_code == 502
        assert COOKIE not in other.cookies
    assert "not begun in this browser" in answer.text


def test_what_the_provider_refuses_is_said(client):
    """In its words, which never become markup."""
    away = client.get("/sign-in/oidc", headers=HTML).headers["location"]
    said = {"state": parse_qs(urlsplit(away).query)["state"][0], "error": "<b>access_denied"}
    answer = client.get("/sign-in/oidc/back", params=said, headers=HTML)
    assert answer.status_code == 502
    assert "The provider refused: &lt;b&gt;access_denied" in answer.text


KEY = jwk.RSAKey.generate_key(2048, {"kid": "right"})
OTHER = jwk.RSAKey.generate_key(2048, {"kid": "right"})
CLAIMS = {"iss": "https://idp", "aud": "me", "sub": "7", "nonce": "n", "groups": ["sre"]}


class _Answers:
    """Documents of a provider without a socket."""

    token = None

    async def request(self, _, url, **__):
        return httpx2.Response(200, json={"keys": [KEY.as_dict(private=False)]},
                               request=httpx2.Request("GET", url))  # fmt: skip


@pytest.mark.parametrize(("changed", "key", "algorithm"), [
    ({"nonce": "another"}, KEY, "RS256"), ({"aud": "somebody else"}, KEY, "RS256"),
    ({"iss": "https://evil"}, KEY, "RS256"), ({"exp": 1}, KEY, "RS256"),
    ({"exp": None}, KEY, "RS256"), ({"sub": None}, KEY, "RS256"), ({}, OTHER, "RS256"),
    ({}, jwk.OctKey.import_key("a secret that was guessed, long enough"), "HS256"),
])  # fmt: skip
async def test_what_is_not_signed_for_this_sign_in_is_refused(changed, key, algorithm):
    """Every claim that OpenID Connect Core 3.1.3.7 wants looked at, and the signature."""
    told = {"exp": int(time.time()) + 60, **CLAIMS, **changed}  # noqa: TID251 - the provider's clock
    claims = {name: value for name, value in told.items() if value is not None}
    signed = jwt.encode({"alg": algorithm, "kid": "right"}, claims, key)
    oidc = Oidc(OidcSettings("https://idp", "me", roles=ROLES), "https://here/back")
    about = {"issuer": "https://idp", "jwks_uri": "https://idp/keys"}
    trip = Trip("s", "n", "v", "/ui/")
    with pytest.raises(OidcFailed, match="not signed for this sign-in"):
        await oidc._signed(_Answers(), about, {"id_token": signed}, trip)


async def test_what_is_signed_for_this_sign_in_is_taken():
    """The same, with nothing wrong."""
    claims = {"exp": int(time.time()) + 60, **CLAIMS}  # noqa: TID251 - the provider's clock
    signed = jwt.encode({"alg": "RS256", "kid": "right"}, claims, KEY)
    oidc = Oidc(OidcSettings("https://idp", "me", roles=ROLES), "https://here/back")
    about = {"issuer": "https://idp", "jwks_uri": "https://idp/keys"}
    found = await oidc._signed(_Answers(), about, {"id_token": signed}, Trip("s", "n", "v", ""))
    assert oidc._person(found).role is Role.OPERATOR


def test_a_provider_that_cannot_work_is_found_at_the_start(make_guarded, settings, tmp_path):
    """Before the first person presses the button."""
    for change, words in (
        ({"server__public_url": ""}, "server.public_url"),
        ({"oidc__issuer": "http://idp.example"}, "must begin with https"),
        ({"oidc__client_secret_file": str(tmp_path / "none")}, "cannot be read"),
    ):
        runtime = make_guarded(**{**settings, **change})
        with pytest.raises(ConfigError, match=words):
            runtime.people.check()
        runtime.database.close()


def test_a_provider_that_is_away_is_said_in_words(make_guarded, settings, open_client):
    """With its address, for whoever looks after it."""
    client = open_client(make_guarded(**{**settings, "oidc__issuer": "http://localhost:1"}))
    answer = client.get("/sign-in/oidc", headers=HTML)
    assert answer.status_code == 502
    assert "The provider does not answer" in answer.text
