"""The controller's page in numbers: modes, lanes, folded decisions, what is not as it should be."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from analysis import controller_view, replay_frames, views
from store import decisions, replays
from store.clock import VirtualClock
from store.database import Database
from store.decisions import (
    ActionRow,
    ChangeRow,
    DecisionRow,
    ObservationRow,
    OutcomeRow,
)
from store.errors import InputError
from store.queries.scope import Scope
from store.settings import StoreSettings

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SCOPE = Scope((1,), NOW - timedelta(hours=1), NOW)
CONTENT = (
    '{"observation":{"pools":[{"name":"a","signals":{"requests_waiting":{"value":23.0,'
    '"grade":"fresh","age_seconds":2.0,"share":1.0}},"forecasts":[{"horizon_seconds":600.0,'
    '"levels":[0.1,0.9],"values":[20.0,41.3],"age_seconds":30.0}]}]}}'
)


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(), VirtualClock(NOW)) as opened:
        yield opened


def at(minutes):
    return NOW.replace(tzinfo=None) - timedelta(minutes=minutes)


def decision(number, minutes, kind="hold", before=8, final=8, **more):
    told = {"mode": "active", "binding": "", "code": "rate", "reason": "41 requests/s", **more}
    return DecisionRow(
        number, number, at(minutes), "a", "risk", told.pop("mode"), kind, before,
        told.pop("proposed", final), final, before, 0, 0, told.pop("binding"), told.pop("code"),
        told.pop("reason"), **told,
    )  # fmt: skip


def keep(database, *rows):
    decisions.keep(database.writer, rows).result()


def view(database, name="controller", **options):
    clock = VirtualClock(NOW)
    return views.compute(name, database.reader, SCOPE, clock=clock, options=options)


def test_nothing_was_decided(database):
    """It says how to begin."""
    found = view(database)
    assert found.empty is not None
    assert "[[controller.pool]]" in found.empty.text
    assert view(database, "controller_decision").empty is not None


def test_holds_are_folded_and_changes_are_markers(database):
    """Hollow for dry-run, crossed for what was blocked."""
    cooled = {"binding": "cooldown", "proposed": 6, "reason": "changed 30 s ago"}
    keep(
        database,
        decision(1, 50, "up", 8, 10, mode="dry-run", proposed=11, binding="most"),
        *[decision(n, 50 - n, **cooled) for n in range(2, 12)],
        decision(12, 30, "up", 8, 10),
        ActionRow(12, 1, at(30), "a", "k8s", 10, "applied", "done"),
    )
    found = view(database)
    rows = found.frames["timeline"].sort("decision_id").to_dicts()
    assert [(row["state"], row["ticks"]) for row in rows] == [
        ("dry-run", 1), ("blocked", 10), ("applied", 1),
    ]  # fmt: skip
    assert rows[0]["text"] == "8 -> 10 (asked for 11): 41 requests/s [most]"
    assert rows[1]["text"] == "held 8 10 steps: changed 30 s ago [cooldown]"
    assert found.measures["changes"].value == 2
    assert found.measures["blocked"].value == 10


def test_a_list_that_is_cut_off_tells_how_long_it_is(database, monkeypatch):
    """Folded steps are one row; what the view does not hold is counted all the same."""
    keep(database, *[decision(n, 60 - n, "up", n, n + 1) for n in range(1, 8)])
    whole = view(database)
    assert (whole.frames["decisions"].height, whole.total("decisions")) == (7, 7)
    monkeypatch.setattr(controller_view, "MOST_DECISIONS", 3)
    cut = view(database)
    assert (cut.frames["decisions"].height, cut.total("decisions")) == (3, 7)
    assert cut.total("timeline") == 7
    assert view(database).total("audit") == 0


def test_a_hold_for_another_reason_is_another_line(database):
    """Other numbers are the same reason; other words are not, even under one code."""
    unknown = {"code": "unknown", "reason": "what a replica can do is not known: held"}
    keep(
        database,
        *[decision(n, 60 - n, **unknown) for n in range(1, 4)],
        decision(4, 50, code="unknown", reason="the request rate is not known: held"),
        *[decision(n, 50 - n, reason=f"{n}.5 requests/s") for n in range(5, 9)],
    )
    rows = view(database).frames["timeline"].sort("decision_id").to_dicts()
    assert [(row["decision_id"], row["ticks"]) for row in rows] == [(1, 3), (4, 1), (5, 4)]


def test_lanes_keep_what_is_wanted_and_what_is_there_apart(database):
    """Raw wish, target after limits, running, starting, draining."""
    keep(database, decision(1, 30, "up", 8, 10, proposed=11, binding="most"))
    (lane,) = view(database).frames["lanes"].to_dicts()
    assert [lane[name] for name in ("desired", "target", "wanted", "running")] == [11, 10, 8, 8]


def test_modes_freezes_and_changes_by_others_are_told(database):
    """Who, when, why; and until when."""
    keep(
        database,
        decision(1, 5),
        ChangeRow(1, at(50), "a", "mode", "active", None, 8, "ana", "go"),
        ChangeRow(2, at(40), "a", "freeze", None, at(-10), None, "bo", "rack 4"),
        ChangeRow(3, at(20), "a", "foreign", None, None, 3, "kubernetes", None),
    )
    found = view(database, pool="a")
    (row,) = found.frames["modes"].to_dicts()
    assert (row["mode"], row["mode_by"], row["is_frozen"]) == ("active", "ana", True)
    assert (row["foreign_replicas"], row["version"]) == (3, 3)
    (freeze,) = found.frames["freezes"].to_dicts()
    assert freeze["until_at"] == at(0)
    assert any("Somebody else set a to 3" in text for text in found.sentences)
    keep(database, ChangeRow(4, at(1), "a", "resume", None, None, 3, "ana", "ok"))
    (row,) = view(database).frames["modes"].to_dicts()
    assert (row["is_frozen"], row["foreign_replicas"]) == (False, None)


def test_what_could_not_be_done_is_red(database):
    """Wanted for long, refused by the platform."""
    keep(
        database,
        decision(1, 30, "up", 8, 10),
        ActionRow(1, 1, at(30), "a", "k8s", 10, "refused", "quota exceeded"),
        decision(2, 1, "up", 8, 10, repeats=1),
    )
    found = view(database)
    assert found.measures["unsettled"].value == 1
    assert found.sentences[0] == (
        "a should have 10 replicas and has 8: quota exceeded (1 attempt)."
    )


def test_what_waits_is_told_with_what_is_expected(database):
    """Until it expires."""
    numbers = '{"policy":{},"expected":{"attainment_ratio":0.997,"cost":6.2}}'
    keep(
        database,
        decision(1, 5, "up", 8, 10, mode="approve", expires_at=at(-5), numbers=numbers),
    )
    (row,) = view(database).frames["pending"].to_dicts()
    assert (row["attainment_ratio"], row["cost"]) == (0.997, 6.2)


def test_one_decision_with_all_that_was_seen(database):
    """Inputs with age and grade, forecast, guards, actions, outcome against expectation."""
    keep(
        database,
        ObservationRow(
            1, at(5), "a", "risk", "{}", "c", None, "{}", CONTENT, "{}", ["a: 1 of 8 told nothing"]
        ),
        decision(
            1, 5, "up", 8, 10, proposed=11, binding="most",
            clips='[{"guard":"most","pool":"a","before":11,"after":10,"text":"at most 10"}]',
            numbers='{"policy":{"highest":41.3},"expected":{"attainment_ratio":0.99}}',
        ),
        ActionRow(1, 1, at(5), "a", "k8s", 10, "applied", "done"),
        OutcomeRow(1, at(0), "attainment_ratio", 0.99, 0.952),
    )  # fmt: skip
    found = view(database, "controller_decision", decision="1")
    assert found.frames["inputs"].to_dicts()[0]["value"] == 23
    assert found.frames["forecasts"]["value"].to_list() == [20.0, 41.3]
    assert found.frames["clips"]["text"].to_list() == ["at most 10"]
    assert found.frames["numbers"].height == 2
    assert found.frames["outcomes"]["observed"].to_list() == [0.952]
    assert found.frames["notes"]["text"].to_list() == ["a: 1 of 8 told nothing"]
    assert view(database, "controller_decision").frames["decision"]["decision_id"][0] == 1


@pytest.mark.parametrize("number", ["7", "x", "-1", "9" * 30])
def test_a_decision_that_is_not_there(database, number):
    """One clear line."""
    with pytest.raises(InputError):
        view(database, "controller_decision", decision=number)


def test_what_a_change_adds_to_an_hour(database):
    """From the price of a replica-hour; nothing is made up without one."""
    numbers = json.dumps(
        {"expected": {"cost": 12.4, "replica_hours": 2.0},
         "unchanged": {"cost": 6.2, "replica_hours": 1.0}}
    )  # fmt: skip
    waits = {"mode": "approve", "expires_at": at(-9)}
    keep(database, decision(1, 1, "up", 4, 8, numbers=numbers, **waits))
    assert view(database).frames["pending"]["cost_per_hour_change"].to_list() == [
        pytest.approx(24.8)
    ]
    keep(database, decision(2, 0.5, "down", 4, 2, **waits))
    assert view(database).frames["pending"]["cost_per_hour_change"].to_list() == [None]


def test_the_newest_replay_of_a_pool_with_its_policy_is_found(database):
    """Not one of other pools, of another policy, of one seed, or one that did not end."""
    keep(database, decision(1, 1))
    for number, (pools, policy, seeds, state) in enumerate(
        [(["a", "b"], "risk", 3, "done"), (["b"], "risk", 3, "done"), (["a"], "keda", 3, "done"),
         (["a"], "risk", 1, "done"), (["a"], "risk", 3, "running")]
    ):  # fmt: skip
        _replay(database.writer, f"r{number}", number, pools, policy, seeds, state)
    (row,) = view(database).frames["replayed"].to_dicts()
    assert (row["pool"], row["replay_id"], row["pools"], row["seeds"]) == ("a", "r0", 2, 3)
    assert (row["gpu_hours_low"], row["gpu_hours"], row["gpu_hours_high"]) == (9.0, 10.0, 11.0)
    assert row["is_validated"] is True
    assert row["fit_error_median_ratio"] == pytest.approx(0.03)


def _replay(writer, replay_id, minutes, pools, policy, seeds, state):
    fleet = {"pools": [{"name": name} for name in pools]}
    error = {"median_ratio": 0.03, "p99_ratio": 0.1, "rows": 9}
    made = NOW - timedelta(hours=1) + timedelta(minutes=minutes)
    row = replays.ReplayRow(
        replay_id, made, "ana", "live", {"seeds": seeds}, 0.99, {"name": "h100", "error": error},
        "validated", True, error, fleet,
    )  # fmt: skip
    replays.add(writer, row).result()
    found = [
        {"case": "live", "startup_seconds": 60.0, "policy": policy, "row": "default",
         "title": policy, "parameters": "{}", "seed": seed, "state": "done", "requests": 9,
         "attainment_ratio": 0.99, "gpu_hours": 9.0 + seed, "advice": []}
        for seed in range(seeds)
    ]  # fmt: skip
    replays.keep(writer, replay_id, replay_frames.outcomes(found), replay_frames.lanes([])).result()
    replays.stand(writer, replay_id, made, state, None, 1.0).result()
