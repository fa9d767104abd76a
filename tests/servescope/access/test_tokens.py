"""Tokens of programs: made once, hashed, scoped, expiring, revoked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servescope.access import keys, scopes
from servescope.access.assembly import People
from store.access import ROLES
from store.errors import InputError

ROWS = '{"source": "live"}\n'


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def make(dressed):
    def token(*wanted, days=None, name="ci"):
        return dressed.people.desk.token_add(name, wanted, days, "test")

    return token


def test_a_token_opens_its_doors_and_is_kept_as_a_hash_only(client, dressed, make):
    """The file beside the store does not hold it, and no answer shows it again."""
    made, token = make("viewer")
    assert client.get("/api/v1/views", headers=bearer(token)).status_code == 200
    secret = keys.parts(token)[1]
    assert (
        secret.encode() not in dressed.database.path.with_name("store.duckdb.access").read_bytes()
    )
    told = client.get("/api/v1/access/tokens", headers=bearer(dressed.people.local_key))
    assert made["token_id"] in told.text
    assert secret not in told.text
    assert keys.digest(secret) not in told.text


def test_a_sender_gets_in_where_it_sends_and_nowhere_else(client, make):
    """An agent's token, stolen, shows nothing and changes nothing."""
    token = make("ingest")[1]
    typed = {**bearer(token), "Content-Type": "application/json"}
    heard = client.post("/v1/metrics", headers=typed, content=b'{"resourceMetrics": []}')
    assert heard.status_code == 200
    for method, path in (("GET", "/api/v1/views"), ("POST", "/api/v1/sql"), ("GET", "/ui/")):
        answer = client.request(method, path, headers=bearer(token))
        assert answer.status_code == 403, path
    answer = client.post("/api/v1/gateways/edge/heartbeat", headers=bearer(token), json={})
    assert answer.json()["needs_role"] == "gateway"


def test_it_ends_when_it_expires_and_when_it_is_revoked(client, clock, dressed, make):
    """To the second; the list says which."""
    made, token = make("viewer", days=1)
    assert client.get("/api/v1/views", headers=bearer(token)).status_code == 200
    clock.advance(86_399)
    assert client.get("/api/v1/views", headers=bearer(token)).status_code == 200
    clock.advance(1)
    assert client.get("/api/v1/views", headers=bearer(token)).status_code == 401
    other, token = make("viewer", name="other")
    local = bearer(dressed.people.local_key)
    client.delete(f"/api/v1/access/tokens/{other['token_id']}", headers=local)
    assert client.get("/api/v1/views", headers=bearer(token)).status_code == 401
    states = {row["token_id"]: row["state"] for row in dressed.people.desk.tokens()}
    assert states == {made["token_id"]: "expired", other["token_id"]: "revoked"}


def test_when_it_was_last_used_is_noted_by_the_minute(client, clock, dressed, make):
    """So that nobody has to guess which may go."""
    token = make("viewer")[1]
    client.get("/api/v1/views", headers=bearer(token))
    used_at = clock.now()
    clock.advance(61)
    client.get("/healthz")
    dressed.people.book.refresh()
    client.get("/api/v1/views", headers=bearer(make("viewer", name="second")[1]))
    assert dressed.people.desk.tokens()[-1]["used_at"] == used_at


def test_guessing_tokens_is_slowed(client):
    """Thirty at once from one address, then one each two seconds."""
    codes = [client.get("/api/v1/views", headers=bearer(f"ss_{n:012}_x")).status_code
             for n in range(40)]  # fmt: skip
    assert codes == [401] * 30 + [429] * 10


def test_one_caller_cannot_take_the_server_from_the_others(make_guarded, open_client):
    """Requests of each are counted by themselves; senders have limits of their own."""
    runtime = make_guarded(access__requests_per_minute=60.0)
    client, desk = open_client(runtime), runtime.people.desk
    greedy, calm = (desk.token_add(n, ["viewer", "ingest"], None, "t")[1] for n in ("a", "b"))
    codes = [client.get("/api/v1", headers=bearer(greedy)).status_code for _ in range(25)]
    assert codes == [200] * 20 + [429] * 5
    assert client.get("/api/v1", headers=bearer(calm)).status_code == 200
    typed = {**bearer(greedy), "Content-Type": "application/json"}
    assert client.post("/v1/metrics", headers=typed, content=b"{}").status_code == 200


def test_metrics_are_for_anybody_or_for_tokens(make_guarded, open_client):
    """By setting, since many a Prometheus has no token."""
    runtime = make_guarded(access__metrics="token")
    client = open_client(runtime)
    assert client.get("/metrics").status_code == 401
    token = runtime.people.desk.token_add("prometheus", ["metrics"], None, "test")[1]
    assert client.get("/metrics", headers=bearer(token)).status_code == 200
    sender = runtime.people.desk.token_add("agent", ["ingest"], None, "test")[1]
    assert client.get("/metrics", headers=bearer(sender)).status_code == 403


@pytest.mark.parametrize(("name", "wanted", "days"), [
    ("", ["viewer"], None), ("x" * 81, ["viewer"], None), ("a\nb", ["viewer"], None),
    ("ci", [], None), ("ci", ["root"], None), ("ci", ["viewer", "admin"], None),
    ("ci", ["viewer"], 0), ("ci", ["viewer"], 4_000), ("ci", ["viewer"], float("nan")),
])  # fmt: skip
def test_what_cannot_be_is_refused_with_what_can(dressed, name, wanted, days):
    """Each mistake in words, and nothing is made."""
    with pytest.raises(InputError) as caught:
        dressed.people.desk.token_add(name, wanted, days, "test")
    assert caught.value.hint
    assert dressed.people.desk.tokens() == []


def test_the_last_admin_stays(dressed):
    """Nobody locks everybody out by a slip."""
    desk = dressed.people.desk
    for change in ({"role": "viewer"}, {"is_disabled": True}):
        with pytest.raises(InputError, match="ada is the last admin"):
            desk.user_change("ada", "test", **change)
    with pytest.raises(InputError, match="ada is the last admin"):
        desk.user_remove("ada", "test")
    desk.user_change("otto", "test", role="admin")
    assert desk.user_remove("ada", "test")["name"] == "ada"


def test_the_local_key_is_new_with_each_start(dressed, clock):
    """What was read yesterday opens nothing today."""
    config = dressed.config
    again = People(dressed.database, clock, config.access, config.oidc, "")
    assert dressed.people.local_key != again.local_key


@given(st.text(max_size=80))
def test_no_text_is_taken_for_a_token_by_mistake(text):
    """Only what `new_key` makes has two parts."""
    assert keys.parts(text) is None
    key = keys.new_key()
    assert keys.parts(key.text) == (key.token_id, key.text.split("_", 2)[2])
    assert keys.parts(key.text + text) is None or not text


@given(st.sets(st.sampled_from(scopes.SCOPES), min_size=1))
def test_scopes_have_one_role_at_most_and_one_order(words):
    """However they are given, once checked they read the same."""
    if len(words & set(ROLES)) > 1:
        with pytest.raises(InputError, match="one role at most"):
            scopes.checked(words)
    else:
        assert scopes.checked(words) == tuple(w for w in scopes.SCOPES if w in words)
