"""The Controller page and the Freeze of every page: what they say, and what they refuse."""

from __future__ import annotations

import importlib.util
import json
import sys
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from analysis.controller_replayed import SCHEMA
from analysis.measure import Empty, View
from dashboard import control_badge
from dashboard.acting import ACTS, answered
from dashboard.app import create_dash
from dashboard.figures import control as figures
from dashboard.figures.base import Look, whole
from dashboard.navigation import Panel
from dashboard.pages import controller_score
from dashboard.panels import answer
from dashboard.routes import page_of
from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

HERE = Path(__file__).parent


def pages():
    """The helpers of the tests of pages, loaded by their path."""
    name = "servescope_dashboard_test_pages"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / "test_pages.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def drawn(fake, search=""):
    """The page as text."""
    return pages().drawn(fake, "/ui/controller", search)


def badge(fake):
    """What the header says of the controller."""
    scene = pages().scene_at(fake, "/ui/slo")
    made = control_badge.badge(fake.services(), scene)
    return pages().words([made.badge, made.word if made.inside else "", *made.inside])


def freeze(fake, version=7, **more):
    """Press Freeze for a quarter of an hour."""
    wish = {"act": "freeze", "pools": [], "seconds": 900, "version": version, **more}
    return answered(fake.services(), wish)


def test_the_page_says_how_it_stands_what_it_did_and_why(fake):
    """Modes with who and why, five lanes, decisions, limits, outcomes, and what is not settled."""
    text = drawn(fake)
    for words in (
        "How is each pool treated",
        "first week",
        "raw desired",
        "target after limits",
        '"running"',
        '"starting"',
        '"draining"',
        '"frozen"',
        "chat frozen by bo, ",
        "triangle-up-open",
        "blocked by a limit",
        "quota of 2 GPUs",
        "Which pool does not have what was asked for?",
        "Did it come as expected?",
        "Who told the controller what?",
        "held 3 9 steps",
    ):
        assert words in text, words


def test_a_decision_opens_with_its_inputs_limits_and_what_would_flip_it(fake):
    """The drawer is an address."""
    text = drawn(fake, "?decision=10")
    assert "Decision 10 of chat" in text
    assert "would scale up at requests waiting >= 41" in text
    assert "16 at most" in text
    assert "What else could have been?" in text


def test_each_table_of_a_decision_has_addresses_and_says_why_it_is_empty(fake):
    """CSV, API and Python of the very decision."""
    text = drawn(fake, "?decision=10")
    assert "/api/v1/views/controller_decision/clips?decision=10&format=csv" in text
    assert "/api/v1/controller/decisions/10" in text
    assert "The platform was not told anything." in text


def test_a_range_without_decisions_leads_to_the_last_one(fake):
    """On call somebody looks at the wrong hour: the page says where the decisions are."""
    day = "from=2026-11-18T00:00:00Z&to=2026-11-18T06:00:00Z"
    text = drawn(fake, f"?source=live&{day}")
    assert "No decision in this range. The last one was on 20 Nov 2026" in text
    assert "Jump there" in text
    assert "No decision in this range" not in drawn(fake)


def test_times_of_modes_have_their_zone(fake):
    """Since when, on the same clock as everything else."""
    assert "ana since 20 Nov 2026 09:00:00 UTC: first week" in drawn(fake)
    assert "ana since 20 Nov 2026 10:00:00 Europe/Berlin" in drawn(fake, "?tz=Europe/Berlin")


def test_fewer_replicas_say_what_is_in_flight(fake):
    """Scaling down drains first, and the page shows how much there is to drain."""
    fake.control.pools[0] |= {"draining": 2, "requests_running": 412.0}
    assert "412 requests in flight in the pool" in drawn(fake)


def test_the_rehearsal_stands_beside_its_replay_and_the_error_of_the_model(fake):
    """What dry-run would have cost on a course of its own, never without how wrong it may be."""
    text = drawn(fake)
    assert "No replay of this pool with the policy that decides it was made yet." in text
    assert "pools=chat" in text
    row = {
        "pool": "chat", "replay_id": "r1", "created_at": datetime(2026, 11, 20, 9), "pools": 2,
        "trace": "live", "title": "servescope, risk", "seeds": 3, "attainment_ratio": 0.991,
        "attainment_ratio_low": 0.989, "attainment_ratio_high": 0.993, "gpu_hours": 11.0,
        "gpu_hours_low": 10.5, "gpu_hours_high": 11.5, "is_validated": False,
        "validity": "not validated: never compared",
    }  # fmt: skip
    frame = pl.DataFrame([{name: row.get(name) for name in SCHEMA}], schema=dict(SCHEMA))
    rehearsed = pl.DataFrame(
        {"pool": ["chat"], "steps": [10], "agreed": [10], "higher": [0], "lower": [0],
         "most_above": [0], "most_below": [0], "hours": [1.0], "wanted_replica_hours": [3.0],
         "there_replica_hours": [3.0]}
    )  # fmt: skip
    scene = pages().scene_at(fake, "/ui/controller")
    view = View("controller", scene.scope, frames={"rehearsed": rehearsed, "replayed": frame})
    text = pages().words(controller_score.score(view, scene).card)
    for words in ("\u2715 not validated", "98.9", "all 2 pools", "r1",
                  "not validated: never compared"):  # fmt: skip
        assert words in text, words


def test_the_help_says_what_can_be_told_in_each_mode(fake):
    """State by action, as people ask for it."""
    text = drawn(fake)
    assert "What can be told to a pool" in text
    assert "yes, until it expires or is replaced" in text


def test_the_course_of_a_candidate_is_a_table_too(fake):
    """The same numbers as the picture."""
    assert "Table: What would it have had" in drawn(fake)
    assert "Shadow replicas" in drawn(fake, "?table=candidate")


def test_a_rollback_says_first_what_it_would_do(fake):
    """The diff stands above the button, which says why it cannot be used in dry-run."""
    text = drawn(fake, "?decision=10")
    assert "chat goes from 6 to 4 replicas, and is frozen for 15 minutes" in text
    assert "chat is in dry-run: nothing is done to it." in text
    fake.control.pools[0]["mode"] = "active"
    assert "nothing is done to it" not in drawn(fake, "?decision=10")


def test_a_decision_that_is_not_there_is_an_error_in_words(fake):
    """A bad number in the address does not break the page."""
    scene = pages().scene_at(fake, "/ui/controller", "?decision=999")
    panel = next(p for p in page_of(scene.address).panels if p.spot == "controller-decision")
    note = answer(panel, scene, fake.services(), None, beat=False)[1]
    assert "There is no decision 999." in pages().words(note)


def test_what_waits_shows_what_it_would_change(fake):
    """Before and after in replicas, attainment and cost, with its end."""
    text = drawn(fake)
    assert "code: 4 \u2192 6 replicas?" in text
    assert "attainment 99.1 % \u2192 99.7 %" in text
    assert "cost 6.2 \u2192 12.4" in text
    assert "Expires" in text


def test_what_waits_in_a_frozen_pool_cannot_be_approved(fake):
    """The button stays and says why."""
    fake.control.pools[1]["is_frozen"] = True
    assert "The pool is frozen: resume it first." in drawn(fake)


def test_without_pools_the_page_says_how_to_make_one(fake):
    """A configuration to copy."""
    fake.control.running, fake.control.pools = False, []
    fake.empty = Empty("nothing_connected", "Nothing was decided yet.")
    text = drawn(fake)
    assert "No pool is configured." in text
    assert "[[controller.pool]]" in text
    assert "Copy the configuration" in text


def test_pools_without_a_decision_are_not_called_missing(fake):
    """The first seconds after the start."""
    fake.empty = Empty("nothing_connected", "Nothing was decided yet.")
    assert "No decision yet." in drawn(fake)


def test_a_record_without_a_controller_can_be_read_but_not_told(fake):
    """No buttons where nobody listens."""
    fake.control.running = False
    text = drawn(fake)
    assert "This process controls nothing" in text
    assert '"data-act"' not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "1 DRY-RUN \u00b7 1 APPROVE"),
        ({"mode": "approve"}, "Controller: APPROVE"),
        ({"is_frozen": True}, "1 of 2 FROZEN"),
    ],
)
def test_the_header_says_how_it_stands(fake, changes, words):
    """On every page."""
    fake.control.pools[0].update(changes)
    assert words in badge(fake)


def test_the_header_says_until_when_all_is_frozen(fake):
    """And offers to resume instead, with a comment."""
    for pool in fake.control.pools:
        pool.update(is_frozen=True, frozen_until="2026-11-20T14:05:00Z")
    text = badge(fake)
    assert "FROZEN until 14:05" in text
    assert "Resume chat, code" in text
    assert "Freeze all pools" not in text


def test_without_a_controller_there_is_nothing_to_freeze(fake):
    """OFF, and no button."""
    fake.control = None
    assert "OFF, watching only" in badge(fake)
    assert "data-act" not in badge(fake)


def test_every_freeze_is_held_and_needs_no_text(fake):
    """Three lengths, each a press of one second."""
    text = badge(fake)
    assert text.count('"data-hold"') == 3
    assert '"data-needs"' not in text


def test_freezing_is_told_and_said(fake):
    """All pools, for 15 minutes, by the dashboard."""
    told = freeze(fake)
    assert told.is_done
    assert fake.control.told == [("freeze", (), 900.0, "dashboard")]
    assert "frozen until 20 Nov 2026 14:05:00 UTC by dashboard" in told.text


def test_the_second_actor_is_refused_with_the_newer_state(fake):
    """Whoever looked at an older page hears how it stands now."""
    assert freeze(fake).is_done
    told = freeze(fake)
    assert not told.is_done
    assert "Somebody changed chat meanwhile." in told.text
    assert "chat is in dry-run, frozen until 20 Nov 2026 14:05:00 UTC by dashboard." in told.text
    assert len(fake.control.told) == 1


def test_leaving_a_freeze_needs_a_comment(fake):
    """The server checks it, too."""
    freeze(fake)
    wish = {"act": "resume", "pools": ["chat"], "version": 8}
    assert "say why" in answered(fake.services(), wish).text.lower()
    told = answered(fake.services(), {**wish, "fields": {"comment": "rack is back"}})
    assert told.is_done
    assert fake.control.told[-1] == ("resume", ("chat",), "rack is back")


@pytest.mark.parametrize(
    "wish",
    [
        {"act": "freeze", "pools": [], "seconds": 900},
        {"act": "freeze", "pools": [], "seconds": "long", "version": 7},
        {"act": "mode", "pools": ["chat"], "mode": "active", "version": None},
        {"act": "approve", "decision": "x"},
        {"act": "launch"},
        {},
    ],
)
def test_a_wish_that_makes_no_sense_does_nothing(fake, wish):
    """A page that does not say what it saw must not act."""
    told = answered(fake.services(), wish)
    assert not told.is_done
    assert fake.control.told == []


def test_modes_approvals_and_rollbacks_reach_the_controller(fake):
    """Each with what was typed."""
    fields = {"comment": "go", "by": "ana", "override": "chat"}
    for wish in (
        {"act": "mode", "pools": ["chat"], "mode": "active", "version": 7},
        {"act": "approve", "decision": 41},
        {"act": "reject", "decision": 41},
        {"act": "rollback", "decision": 10, "version": 8},
    ):
        told = answered(fake.services(), {**wish, "fields": fields})
        assert told.is_done, told
    assert fake.control.told == [
        ("mode", ("chat",), "active", "ana", "go", "chat"),
        ("approve", 41, "go"),
        ("reject", 41, "go"),
        ("rollback", 10, "go"),
    ]


def test_an_approval_of_what_is_gone_names_the_newer_one(fake):
    """Not only that it failed."""
    told = answered(fake.services(), {"act": "approve", "decision": 12})
    assert "The newest is decision 41: 4 to 6 replicas." in told.text


def test_nothing_can_be_told_where_nobody_listens(fake):
    """A dashboard without controller and replays answers every wish in words."""
    fake.control = fake.replays = fake.alerts = fake.saved = None
    fake.models = fake.reports = None
    for act in ACTS:
        wish = {"act": act, "decision": 1, "version": 1, "seconds": None, "mode": "off",
                "about": {}, "replay": ""}  # fmt: skip
        told = answered(fake.services(), wish)
        assert not told.is_done
        assert "here" in told.text


def test_only_a_post_of_the_browser_acts(fake):
    """A GET with the wish in its address changes nothing."""
    client = create_dash(fake.services()).server.test_client()
    wish = json.dumps({"act": "freeze", "pools": [], "seconds": 900, "version": 7})
    client.get("/controller", query_string={"data": wish})
    client.get("/_dash-update-component", query_string={"data": wish})
    assert fake.control.told == []
    body = {
        "output": "shell-told.data", "outputs": {"id": "shell-told", "property": "data"},
        "inputs": [{"id": "shell-act", "property": "data", "value": json.loads(wish)}],
        "changedPropIds": ["shell-act.data"],
    }  # fmt: skip
    assert "frozen until" in client.post("/_dash-update-component", json=body).text
    assert len(fake.control.told) == 1


def test_what_is_typed_outlives_the_refresh(fake):
    """A panel to type into is sent again only when it says something else."""
    scene = pages().scene_at(fake, "/ui/controller")
    panel = next(p for p in page_of(scene.address).panels if p.spot == "controller-act")
    assert isinstance(panel, Panel)
    _, _, shown = answer(panel, scene, fake.services(), None, beat=False)
    mark = {**shown, "at": "2026-11-20T11:00:00+00:00"}
    assert not isinstance(answer(panel, scene, fake.services(), mark, beat=True)[0], list)
    freeze(fake)
    assert isinstance(answer(panel, scene, fake.services(), mark, beat=True)[0], list)


def test_a_range_without_decisions_draws_nothing():
    """An empty course is a reason, not a chart."""
    schema = {"at": pl.Datetime("us"), **dict.fromkeys(figures.LANES, pl.Int64)}
    assert isinstance(figures.lanes(pl.DataFrame(schema=schema), Look()), str)


def test_an_empty_store_is_not_called_frozen(fake):
    """The real view of a new store says that nothing is configured."""
    from analysis.views import compute

    with Database.open(None, StoreSettings(memory_limit_bytes=64 << 20), WallClock()) as database:
        scope = pages().scene_at(fake, "/ui/controller").scope
        view = compute("controller", database.reader, scope, clock=WallClock(), options={})
    assert view.empty is not None
    assert "dry-run" in view.empty.text


def test_small_fleets_have_whole_ticks():
    """No axis says "1, 1, 2, 2"; a large one has few."""
    for most, step in ((2, 1), (40, 7)):
        frame = pl.DataFrame({"final_replicas": [1, most]})
        assert whole(frame, ["final_replicas"]) == {"tickformat": "d", "dtick": step}


def test_the_time_of_a_trace_leads_to_the_live_fleet(fake):
    """The controller decides live; a trace ended long ago."""
    text = drawn(fake, "?source=azure-2023-conv")
    assert "this is the time of a trace" in text
    assert "Show the live fleet" in text


def test_a_mode_that_would_be_refused_is_disabled_beforehand_with_what_to_do(fake):
    """The words of the refusal; typing the pool's name allows what may be overridden, no more."""
    why = {"why": "chat has decided for 0.3 h in dry-run; 24 h are asked for",
           "hint": "let it run in dry-run first", "may_override": True}  # fmt: skip
    oracle = {"why": "policy oracle looks at the future", "hint": "choose another",
              "may_override": False}  # fmt: skip
    fake.control.refused = {"chat": {"active": why}, "code": {"active": oracle}}
    text = drawn(fake)
    said = "ACTIVE is not possible now: chat has decided for 0.3 h in dry-run; 24 h are asked for."
    assert f"{said} Let it run in dry-run first." in text
    assert text.count("data-unless") == 1
    assert json.dumps(json.dumps(["override", "chat"]))[1:-1] in text
    assert "ACTIVE is not possible now: policy oracle looks at the future. Choose another." in text
    fake.control.refused = {}
    assert "not possible now" not in drawn(fake)
