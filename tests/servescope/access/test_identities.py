"""The record of who may come in: the same in a file and in PostgreSQL, by two at once."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from store.errors import InputError, StoreError, StoreFull
from store.identities import Identities, Session, Token, User
from store.identity_file import IdentityFile
from store.lake_address import lake_address
from store.lake_tables import LakeTables
from tests.lakes import Postgres, why_not

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def postgres():
    missing = why_not("lake")
    if missing:
        pytest.skip(missing)
    made = Postgres()
    yield made
    made.stop()


@pytest.fixture(params=["file", "lake"])
def two(request, tmp_path):
    """The same record as two processes have it."""
    if request.param == "file":
        ways = [IdentityFile(tmp_path / "s.access") for _ in range(2)]
    else:
        server = request.getfixturevalue("postgres")
        url = server.url("postgres") + f"?schema=s{tmp_path.name.replace('-', '_')}"
        ways = [LakeTables(lake_address(url, str(tmp_path))) for _ in range(2)]
    yield [Identities(way) for way in ways]
    for way in ways:
        way.close()


def user(name, **more):
    return User(name, "viewer", "hash", None, NOW, "test", **more)


def session(name, digest="d", at=NOW):
    ends = at + timedelta(hours=12)
    return Session(digest, name, None, at, ends, at, "10.0.0.1", "Browser", "password")


def test_what_one_writes_the_other_reads_and_the_revision_tells(two):
    """Everything, to the microsecond; nothing changed, nothing told."""
    one, other = two
    before = other.revision()
    one.add_user(user("ana"))
    one.add_session(session("ana"))
    token = Token("id", "ci", "hash", ("viewer", "ingest"), NOW, "ana", NOW + timedelta(days=1))
    one.add_token(token)
    assert other.revision() > before
    known = other.known()
    assert known.sessions == {"d": session("ana")}
    assert known.tokens == {"id": token}
    assert known.users["ana"].signed_in_at == NOW
    assert other.revision() == known.revision


def test_names_and_subjects_are_given_once(two):
    """Whoever comes second is told, in whichever process."""
    one, other = two
    one.add_user(user("ana"))
    with pytest.raises(InputError, match="there is a user ana already"):
        other.add_user(user("ana"))
    one.add_user(User("ben", "viewer", None, "idp#1", NOW, "oidc"))
    with pytest.raises(InputError, match="there is a user"):
        other.add_user(User("cleo", "viewer", None, "idp#1", NOW, "oidc"))
    assert set(other.known().users) == {"ana", "ben"}


def test_a_new_password_ends_sessions_and_a_new_role_does_not(two):
    """In one step: nobody slips in between."""
    one, other = two
    one.add_user(user("ana"))
    one.add_session(session("ana"))
    other.change_user("ana", role="admin")
    assert len(one.known().sessions) == 1
    other.change_user("ana", password="another")
    assert one.known().sessions == {}
    assert one.known().users["ana"].role == "admin"


def test_what_is_over_is_forgotten(two):
    """Sessions at once, tokens after a while."""
    one, other = two
    one.add_user(user("ana"))
    one.add_session(session("ana"))
    for name, ends in (("old", NOW - timedelta(days=1)), ("new", NOW + timedelta(days=1))):
        one.add_token(Token(name, name, "hash", ("viewer",), NOW, "ana", ends))
    other.prune(NOW + timedelta(hours=13), NOW)
    assert one.known().sessions == {}
    assert set(one.known().tokens) == {"new"}
    assert one.end_token("new", NOW)
    assert not other.end_token("new", NOW)


def test_two_at_once_lose_nothing(two):
    """Thirty users from two sides, and each is there."""

    def add(record, names):
        for name in names:
            record.add_user(user(name))

    sides = [[f"{side}{n}" for n in range(15)] for side in "ab"]
    threads = [threading.Thread(target=add, args=given) for given in zip(two, sides, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(two[0].known().users) == {name for side in sides for name in side}


def test_a_disk_without_room_is_told_apart(tmp_path):
    """It passes, where damage does not."""
    way = IdentityFile(tmp_path / "s.access")
    record = Identities(way)
    with pytest.raises(StoreFull), way._open() as connection:
        connection.executescript("PRAGMA query_only = on; UPDATE access_revision SET n = 9")
    assert record.revision() == 0


def test_a_damaged_file_is_said_and_not_overwritten(tmp_path):
    """Who may come in is not forgotten in silence."""
    file = tmp_path / "s.access"
    file.write_bytes(b"this was a list of users once" * 100)
    with pytest.raises(StoreError, match="cannot be used") as caught:
        Identities(IdentityFile(file))
    assert "backup" in caught.value.hint
    assert file.read_bytes().startswith(b"this was")
