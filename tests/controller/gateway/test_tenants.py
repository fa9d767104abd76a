"""Who asks: keys, headers and users become tenants, in a clear order and within bounds."""

import logging
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.gateway.admission.base import Refusal
from controller.gateway.admission.registry import make_rule
from controller.gateway.hooks import Callers, Said
from controller.gateway.tenant_book import hash_of, new_key
from controller.gateway.tenant_file import book_of, read_file
from controller.gateway.tenants import FORGET_SECONDS, Tenants, WatchedTenants
from store.clock import VirtualClock
from store.errors import ConfigError

ACME, DOOR = "sk-scope-acme", "sk-scope-door"
BOOK = {
    "class": {
        "online": {"ttft_seconds": 1.0, "priority": 10},
        "batch": {"best_effort": True, "priority": -1},
    },
    "default": {"weight": 0.5, "requests_per_minute": 60},
    "tenant": {
        "acme": {
            "weight": 2, "classes": ["batch"], "keys": [hash_of(ACME)],
            "requests_per_minute": 600, "tokens_per_day": 1e6,
        },
        "door": {"keys": [hash_of(DOOR)], "names_tenants": True},
        "nightly": {"class": "batch"},
    },
}  # fmt: skip
FAIRNESS = "x-llm-d-inference-fairness-id"
HEADERS = ["authorization", "x-api-key", FAIRNESS, "x-slo-class", "x-session-id"]


def clock():
    return VirtualClock(datetime(2026, 1, 31, 12, tzinfo=UTC))


def tenants(**more):
    return Tenants(clock(), book_of({**BOOK, **more}, "tenants.toml"))


def said(user="", session=""):
    return Said("/v1/chat/completions", user=user, session=session)


def bearer(key, **more):
    return {"authorization": f"Bearer {key}", **more}


def test_a_key_decides_whatever_else_is_said():
    """A client cannot spend what another one has."""
    found = tenants().caller(bearer(ACME, **{FAIRNESS: "nightly"}), said("somebody"))
    assert (found.tenant, found.weight, found.slo.ttft_seconds) == ("acme", 2.0, 1.0)


@pytest.mark.parametrize("header", ["x-api-key", "api-key"])
def test_keys_come_in_other_headers_too(header):
    """As clients of other vendors send them."""
    assert tenants().caller({header: ACME}, said()).tenant == "acme"


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        (bearer("sk-scope-wrong"), "not known"),
        ({}, "is needed"),
        ({"authorization": "Basic x"}, "is needed"),
    ],
)
def test_without_a_good_key_nobody_comes_in(headers, word):
    """401, in words that OpenAI's clients know."""
    book = tenants()
    found = book.caller({**headers, FAIRNESS: "acme"}, said("acme"))
    assert isinstance(found, Refusal)
    assert (found.status, found.code, book.unauthorized) == (401, "invalid_api_key", 1)
    assert word in found.text


def test_a_door_may_speak_for_others():
    """By header, else by user, else for itself."""
    book = tenants()
    assert book.caller(bearer(DOOR, **{FAIRNESS: "nightly"}), said("u")).tenant == "nightly"
    assert book.caller(bearer(DOOR), said("u")).tenant == "u"
    assert book.caller(bearer(DOOR), said()).tenant == "door"


def test_without_keys_names_are_believed():
    """The header first, then the user; a key that a client has to send is not looked at."""
    book = tenants(tenant={"nightly": {"class": "batch"}}, tenant_header="X-Team")
    assert book.caller({"x-team": "nightly"}, said("u")).slo.is_best_effort
    found = book.caller(bearer("anything"), said("u"))
    assert (found.tenant, found.weight) == ("u", 0.5)
    assert book.caller({}, said()).tenant == "anonymous"


def test_keys_may_be_left_to_those_who_have_one():
    """A key that is wrong is still refused."""
    book = tenants(keys_required=False)
    assert book.caller({FAIRNESS: "u"}, said()).tenant == "u"
    assert book.caller(bearer("wrong"), said()).status == 401


def test_a_class_is_named_by_who_may():
    """Anybody else gets their own."""
    book = tenants()
    assert book.caller(bearer(ACME, **{"x-slo-class": "batch"}), said()).slo.is_best_effort
    found = book.caller(bearer(DOOR, **{"x-slo-class": "batch"}), said())
    assert found.slo.name == "online"
    assert book.caller(bearer(ACME, **{"x-slo-class": "gold"}), said()).slo.name == "online"


def test_the_conversation_is_told_by_header_or_body():
    """The body's word first."""
    headers = bearer(ACME, **{"x-session-id": "h"})
    assert tenants().caller(headers, said(session="b")).session == "b"
    assert tenants().caller(headers, said()).session == "h"


def test_a_flood_of_names_is_bounded():
    """New names share one; who is in the file, and who was there before, is told apart."""
    now = clock()
    book = Tenants(now, book_of({"most_tenants": 3, "tenant": {"known": {}}}, "t"))
    names = [book.caller({}, said(f"u{number}")).tenant for number in range(6)]
    assert names == ["u0", "u1", "u2", "others", "others", "others"]
    assert book.caller({}, said("known")).tenant == "known"
    assert book.caller({}, said("u0")).tenant == "u0"
    assert book.shared == 3
    now.advance(FORGET_SECONDS)
    assert book.caller({}, said("u9")).tenant == "u9"


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=300)), st.text())
@example({"authorization": "Bearer \udc80"}, "")
def test_whatever_is_sent_gets_an_answer(headers, user):
    """A tenant with a name that can be stored, or 401; and never anybody else's key."""
    found = tenants(keys_required=False).caller(headers, said(user))
    if isinstance(found, Refusal):
        assert found.status == 401
    else:
        assert found.tenant.isprintable()
        assert 0 < len(found.tenant) <= 128
        assert found.tenant not in ("acme", "door") or found.tenant in (
            headers.get(FAIRNESS, "").strip(), user.strip()
        )  # fmt: skip


def test_limits_become_rules():
    """What the file bounds, the rules of admission keep."""
    rules = tenants().book.rules()
    assert rules == {
        "token-bucket": {
            "requests_per_minute": 60.0, "tenants": {"acme": {"requests_per_minute": 600.0}},
        },
        "quota": {"tenants": {"acme": {"budget": 1e6}}},
    }  # fmt: skip
    for name, parameters in rules.items():
        make_rule(name, **parameters)
    every = {"requests_at_once": 5, "tokens_per_day": 7, "tokens_per_minute": 9}
    for name, parameters in (
        book_of({"default": every, "tenant": {"a": every}}, "t").rules().items()
    ):
        make_rule(name, **parameters)


def test_a_new_key_opens_its_tenants_door():
    """Keys are random, and the file holds nothing that could be sent."""
    key, line = new_key()
    assert key != new_key()[0]
    assert key not in line
    book = Tenants(clock(), book_of({"tenant": {"t": {"keys": [line]}}}, "f"))
    assert book.caller(bearer(key), said()).tenant == "t"
    assert book.caller(bearer(line), said()).status == 401


def test_all_mistakes_are_told_at_once():
    """Where and what; a key that stands there in the open is not repeated."""
    wrong = {
        "keys_requird": True, "tenant_header": "a b", "most_tenants": 0, "default": {"keys": []},
        "class": {"online": {"ttft": 1}, "b": {"ttft_seconds": 0}},
        "tenant": {"a": {"weight": 0, "class": "gold", "keys": [ACME]},
                   "b": {"keys": [hash_of(ACME)]}, "c": {"keys": [hash_of(ACME)]}, "d": 7},
    }  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        book_of(wrong, "tenants.toml")
    told = str(caught.value)
    for part in (
        "keys_requird is unknown; did you mean keys_required?", "tenant_header must be",
        "most_tenants must be", "default.keys is unknown", "class.online.ttft is unknown",
        "class.b.ttft_seconds must be above 0", "tenant.a.weight must be above 0",
        "tenant.a.class there is no class 'gold'", "tenant.a.keys, number 1 must be sha256:",
        "tenant.c.keys, number 1 is a key of b, too", "tenant.d must be a table",
    ):  # fmt: skip
        assert part in told
    assert ACME not in told


async def test_the_file_is_read_again_when_it_changes(tmp_path, caplog):
    """A good one counts from the next request on; one with mistakes changes nothing and is told."""
    path = tmp_path / "tenants.toml"
    path.write_text(f'[tenant.a]\nkeys = ["{hash_of(ACME)}"]\n', "utf-8")
    book = Tenants(clock())
    seen = []
    watched = WatchedTenants(path, book, seen.append)
    watched.load()
    assert isinstance(book, Callers)
    assert not await watched.look()
    path.write_text(f'[tenant.renamed]\nkeys = ["{hash_of(ACME)}"]\n', "utf-8")
    assert await watched.look()
    assert book.caller(bearer(ACME), said()).tenant == "renamed"
    with caplog.at_level(logging.WARNING):
        path.write_text(f'[tenant.a]\nkeys = ["{ACME}"]\n', "utf-8")
        assert not await watched.look()
    assert "number 1 must be sha256:" in watched.problem
    path.unlink()
    assert not await watched.look()
    assert "cannot be read" in watched.problem
    assert book.caller(bearer(ACME), said()).tenant == "renamed"
    assert len(seen) == 2
    assert ACME not in caplog.text


@pytest.mark.parametrize("text", ["a = [", "\x00", "tenant = 7", "[class]\nx = 1", "default = 3"])
def test_a_file_that_is_none_says_so(tmp_path, text):
    """One clear error with the file's name."""
    path = tmp_path / "t.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"t\.toml"):
        read_file(path)
