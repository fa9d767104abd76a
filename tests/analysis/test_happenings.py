"""What is drawn on charts of every page, and what a rehearsal would have given."""

from datetime import UTC, datetime, timedelta

import pytest

from analysis import views
from store import decisions
from store.clock import VirtualClock
from store.database import Database
from store.decisions import ActionRow, ChangeRow, DecisionRow
from store.queries import control_marks
from store.queries.scope import Scope
from store.settings import StoreSettings

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SCOPE = Scope((1,), NOW - timedelta(hours=1), NOW)


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(), VirtualClock(NOW)) as opened:
        yield opened


def at(minutes):
    return NOW.replace(tzinfo=None) - timedelta(minutes=minutes)


def step(number, minutes, before, final, mode="dry-run", pool="chat"):
    kind = "hold" if before == final else "up" if final > before else "down"
    return DecisionRow(
        number, number, at(minutes), pool, "risk", mode, kind, before, final, final, before, 0, 0,
        "", "rate", "41 requests/s",
    )  # fmt: skip


def keep(database, *rows):
    decisions.keep(database.writer, rows).result()


def marks(database):
    clock = VirtualClock(NOW)
    return views.compute("happenings", database.reader, SCOPE, clock=clock).frames


def test_only_what_was_really_changed_is_a_mark(database):
    """A failed attempt and a rehearsal change nothing; what somebody else set does."""
    keep(
        database,
        step(1, 50, 2, 4, "active"),
        ActionRow(1, 1, at(50), "chat", "k8s", 4, "failed", "quota"),
        ActionRow(1, 2, at(49), "chat", "k8s", 4, "applied", "done"),
        step(2, 40, 4, 5),
        ChangeRow(1, at(30), "chat", "foreign", None, None, 7, "platform", None),
        ActionRow(2, 1, at(70), "chat", "k8s", 5, "applied", "before the range"),
    )
    found = marks(database)["scalings"]
    assert found.select("at", "before_replicas", "after_replicas", "changed_by").rows() == [
        (at(30), None, 7, "somebody else"),
        (at(49), 2, 4, "the controller"),
    ]


def test_a_change_by_the_controller_alone_is_a_mark(database):
    """Nothing else needs to have happened."""
    keep(
        database,
        step(1, 50, 2, 4, "active"),
        ActionRow(1, 1, at(49), "chat", "k8s", 4, "applied", ""),
    )
    assert marks(database)["scalings"]["after_replicas"].to_list() == [4]


def test_a_freeze_that_goes_on_ends_with_the_range(database):
    """It is drawn as far as is known."""
    keep(database, ChangeRow(1, at(20), "chat", "freeze", None, None, None, "bo", "rack 4"))
    (row,) = marks(database)["freezes"].rows(named=True)
    assert (row["from_at"], row["until_at"], row["changed_by"]) == (at(20), at(0), "bo")


def test_targets_that_came_fell_silent_and_came_back_are_told(database):
    """Two that came at once are one event; a trace knows of none of it."""
    database.writer.run(_targets).result()
    found = marks(database)["events"].select("at", "until_at", "kind", "text").rows()
    assert found == [
        (at(59), None, "deployment", "2 targets added"),
        (at(50), at(45), "outage", "http://a stopped answering: no answer"),
        (at(40), at(38), "start", "a started"),
        (at(9), None, "alert", "it burns"),
    ]
    trace = Scope((2,), SCOPE.start, SCOPE.end)
    told = views.compute("happenings", database.reader, trace, clock=VirtualClock(NOW)).frames
    assert set(told) == {"events"}
    assert told["events"].height == 0


EVENT = "INSERT INTO event VALUES ('one', 1, $1, NULL, {kind}, 'a', 'said', NULL)"
CHANGE = """INSERT INTO control_change (version, changed_at, pool, kind, replicas, changed_by)
VALUES (1, $1, 'chat', {kind}, 3, 'bo')"""
ALONE = {
    "a fault": (EVENT.format(kind="'fault'"), "events"),
    "an alert of others": (EVENT.format(kind="'alert'"), "events"),
    "an alert of ours": (
        """INSERT INTO alert_change VALUES (1, $1, 'f', 'burn', 'page', 'firing', $1, $1, '{}', 1,
        'it burns', '/', '{}', 60, 'why')""",
        "events",
    ),
    "a target that came": ("INSERT INTO target (target_id, url, added_at) VALUES (1, 'a', $1)",
                           "events"),
    "a target that went": (
        """INSERT INTO target (target_id, url, added_at, removed_at)
        VALUES (1, 'a', '2020-01-01', $1)""",
        "events",
    ),
    "a freeze": (CHANGE.format(kind="'freeze'"), "freezes"),
    "a change by others": (CHANGE.format(kind="'foreign'"), "scalings"),
}  # fmt: skip


@pytest.mark.parametrize("what", ALONE)
def test_what_happened_alone_is_found(database, what):
    """Tables without a row of the range are not asked; columns are the same as if they were."""
    nothing = marks(database)
    sql, name = ALONE[what]
    database.writer.run(lambda connection: connection.execute(sql, [at(10)])).result()
    found = marks(database)
    assert {key: frame.height for key, frame in found.items() if frame.height} == {name: 1}
    assert found[name].schema == nothing[name].schema


def _targets(connection):
    for number, url in enumerate(("http://a", "http://b")):
        connection.execute(
            "INSERT INTO target (target_id, url, added_at) VALUES ($1, $2, $3)",
            [number, url, at(59)],
        )
    for minutes, grade in ((58, "fresh"), (50, "silent"), (45, "fresh")):
        connection.execute(
            "INSERT INTO signal_grade VALUES (0, '', $1, $2, 'no answer', NULL)",
            [at(minutes), grade],
        )
    for minutes, until, kind, text in (
        (40, 38, "start", "a started"), (9, None, "alert_firing", "it burns"),
        (8, None, "scale", "told by its own rows"), (90, 80, "start", "before the range"),
    ):  # fmt: skip
        ended = None if until is None else at(until)
        connection.execute(
            "INSERT INTO event VALUES ($1, 1, $2, $3, $4, 'a', $5, NULL)",
            [text, at(minutes), ended, kind, text],
        )


def test_a_rehearsal_counts_agreement_and_replica_hours(database):
    """Four steps a minute apart, one of them higher by two, one lower by one."""
    keep(
        database,
        step(1, 40, 4, 4), step(2, 39, 4, 6), step(3, 38, 4, 3), step(4, 37, 4, 4),
        step(5, 36, 9, 9, "active"), step(6, 35, 9, 1, pool="other"),
    )  # fmt: skip
    start, end = (edge.replace(tzinfo=None) for edge in (SCOPE.start, SCOPE.end))
    row = control_marks.rehearsed(database.reader, start, end).row(0, named=True)
    told = {name: row[name] for name in ("pool", "steps", "agreed", "higher", "lower")}
    assert told == {"pool": "chat", "steps": 4, "agreed": 2, "higher": 1, "lower": 1}
    assert (row["most_above"], row["most_below"]) == (2, 1)
    assert row["wanted_replica_hours"] == pytest.approx((4 + 6 + 3 + 4) / 60)
    assert row["there_replica_hours"] == pytest.approx(16 / 60)


def test_a_pause_of_the_controller_is_not_counted_as_rehearsed(database):
    """Nobody decided for half an hour: the step before it counts for five usual steps."""
    steps = [step(n, 58 - n, 4, 4) for n in range(1, 11)]
    keep(database, *steps, step(11, 10, 4, 4))
    start, end = (edge.replace(tzinfo=None) for edge in (SCOPE.start, SCOPE.end))
    row = control_marks.rehearsed(database.reader, start, end).row(0, named=True)
    assert row["hours"] == pytest.approx((9 + 5 + 1) / 60)
