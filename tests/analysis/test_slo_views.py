from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from analysis import slo_ahead
from analysis.burn import default_alerts
from analysis.slo import check
from analysis.slo_frames import (
    ALERTS_SCHEMA,
    BURN_WINDOWS_SECONDS,
    CURVE_SCHEMA,
    SPENT_BY_SCHEMA,
)
from analysis.slo_model import Slo, SloMatch
from analysis.slo_views import SLOS_SCHEMA, slo_detail, slo_list
from store.errors import InputError
from store.queries.scope import Scope

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SLO = Slo("chat", "ttft", 0.9, 86_400.0, ttft_seconds=1.0, alerts=default_alerts(86_400.0))
NAMES = {
    "budget": ["at", "budget_left_ratio", "projected_ratio"],
    "burn": ["at", *BURN_WINDOWS_SECONDS],
    "events": ["at", "good", "bad", "undetermined"],
    "alerts": list(ALERTS_SCHEMA),
    "spent_by": list(SPENT_BY_SCHEMA),
    "threshold_curve": list(CURVE_SCHEMA),
}


@pytest.fixture
def traffic(add_requests):
    """1,000 requests over four hours; tenant b, a fifth of them, has all the slow ones."""
    tenants = ["b" if i % 5 == 0 else "a" for i in range(1000)]
    add_requests(
        [1.0 + 14.0 * i for i in range(1000)],
        tenant=tenants,
        model="m",
        input_tokens=[100 if t == "a" else 5000 for t in tenants],
        ttft_seconds=[
            0.2 + 0.0001 * i if t == "a" or i % 2 else 3.0 for i, t in enumerate(tenants)
        ],
    )


def test_list_tile_and_detail_show_one_number(database, traffic, live_scope):
    """The same budget in the list, on the tile, at the end of the chart and in the CLI's check."""
    reader = database.reader
    listed = slo_list(reader, live_scope, slos=[SLO]).frames["slos"].row(0, named=True)
    detail = slo_detail(reader, live_scope, slos=[SLO], slo="chat")
    (checked,) = check(reader, [SLO], live_scope)
    left = checked.budget_left_ratio
    assert left == pytest.approx(0.0)
    assert listed["budget_left_ratio"] == detail.measures["budget_left_ratio"].value == left
    assert detail.frames["budget"]["budget_left_ratio"][-1] == pytest.approx(left)
    assert detail.frames["events"].select(pl.sum("good", "bad")).row(0) == (900, 100)
    assert detail.frames["burn"]["burn_1h"][-1] == pytest.approx(listed["burn_1h"])
    assert list(SLOS_SCHEMA) == detail.frames["slos"].columns
    for name, columns in NAMES.items():
        assert detail.frames[name].columns == columns


@pytest.mark.parametrize(
    ("left", "gone_in", "ends_at", "rest"),
    [(0.4, 3.0, 3.0, 0.0), (0.4, 24.0, 12.0, 0.2), (0.4, None, 0.0, None), (-0.1, -1.0, 0.0, None)],
)
def test_the_projection_ends_where_the_tile_says_it_is_gone(
    database, traffic, live_scope, left, gone_in, ends_at, rest
):
    """At most half the window ahead; none where the budget is gone or does not go."""
    (status,) = check(database.reader, [SLO], live_scope)
    end = live_scope.end
    gone = None if gone_in is None else end + timedelta(hours=gone_in)
    course = slo_detail(database.reader, live_scope, slos=[SLO], slo="chat").frames["budget"]
    told = replace(status, budget_left_ratio=left, exhausted_at=gone)
    made = slo_ahead.projected(course.drop("projected_ratio"), told, end)
    last = made.row(-1, named=True)
    assert last["at"] == (end + timedelta(hours=ends_at)).replace(tzinfo=None)
    assert last["projected_ratio"] == (rest if rest is None else pytest.approx(rest))
    if rest is not None:
        assert made["projected_ratio"][-2] == left
        assert made.height == course.height + 1


def test_over_the_range_each_is_judged_as_if_its_window_were_that_range(database, traffic):
    """The last hour of a day's window; list and detail agree, other words are refused."""
    reader = database.reader
    hour = Scope((1,), NOW - timedelta(hours=1), NOW)
    whole = slo_list(reader, hour, slos=[SLO]).frames["slos"].row(0, named=True)
    part = slo_list(reader, hour, slos=[SLO], over="range").frames["slos"].row(0, named=True)
    assert (whole["attempted"], part["attempted"]) == (1000, 258)
    assert part["window_seconds"] == 3600
    detail = slo_detail(reader, hour, slos=[SLO], slo="chat", over="range")
    assert detail.measures["attainment_ratio"].value == part["attainment_ratio"]
    assert detail.frames["spent_by"].filter(dimension="tenant")["attempted"].sum() == 258
    with pytest.raises(InputError, match="cannot be judged over 'week'"):
        slo_list(reader, hour, slos=[SLO], over="week")


def test_who_spent_it_is_named(database, traffic, live_scope):
    """The tenant with all the bad requests stands out, by share of bad over share of traffic."""
    detail = slo_detail(database.reader, live_scope, slos=[SLO], slo="chat")
    rows = {
        (r["dimension"], r["value"]): r for r in detail.frames["spent_by"].iter_rows(named=True)
    }
    guilty = rows["tenant", "b"]
    assert (guilty["bad"], guilty["attempted"]) == (100, 200)
    assert guilty["over_representation"] == pytest.approx(5.0)
    assert rows["input_tokens", "4,096-8,191"]["bad"] == 100
    assert ("model", "m") not in rows
    assert any("100 % of the bad requests" in sentence for sentence in detail.sentences)


def test_the_threshold_curve_passes_through_the_counted_attainment(database, traffic, live_scope):
    """The marker at the present threshold is the number on the tile; the curve never falls."""
    detail = slo_detail(database.reader, live_scope, slos=[SLO], slo="chat")
    curve = detail.frames["threshold_curve"]
    assert curve["attainment_ratio"].is_sorted()
    own = curve.filter("is_objective")["attainment_ratio"].item()
    assert curve.filter("is_objective")["threshold_seconds"].to_list() == [1.0]
    assert own == detail.measures["attainment_ratio"].value
    assert curve["attainment_ratio"][-1] == 1.0


def test_alerts_list_what_fires_and_why_not(database, traffic, live_scope):
    """Every rule is shown with its two burns and a reason."""
    alerts = slo_detail(database.reader, live_scope, slos=[SLO], slo="chat").frames["alerts"]
    assert alerts.height == len(SLO.alerts)
    assert alerts["reachable"].all()
    assert alerts["why"].null_count() == 0


def test_an_unknown_slo_names_the_nearest(database, live_scope):
    """A typo in an address gets one clear line."""
    with pytest.raises(InputError, match="did you mean chat"):
        slo_detail(database.reader, live_scope, slos=[SLO], slo="chta")


def test_without_slos_the_page_says_how_to_get_one(database, traffic, live_scope):
    """No definition is not the same as no trouble."""
    view = slo_list(database.reader, live_scope, slos=[])
    assert view.frames["slos"].is_empty()
    assert "slo.toml" in view.sentences[0]


def test_the_most_urgent_comes_first(database, traffic, live_scope):
    """The list is sorted by how soon somebody must act."""
    slos = [
        Slo("calm", "availability", 0.9, 86_400.0),
        Slo("blind", "e2e", 0.9, 86_400.0, e2e_seconds=1.0),
        Slo("gone", "ttft", 0.99, 86_400.0, ttft_seconds=1.0),
    ]
    frame = slo_list(database.reader, live_scope, slos=slos).frames["slos"]
    assert frame["name"].to_list() == ["gone", "calm", "blind"]
    assert frame["status"].to_list() == ["exhausted", "healthy", "no data"]


def test_a_filtered_page_says_that_its_budget_is_partial(database, traffic, live_scope):
    """Budget of one tenant is not the SLO's budget, and is not sold as it."""
    scope = Scope((1,), live_scope.start, live_scope.end, tenants=("a",))
    view = slo_list(database.reader, scope, slos=[SLO])
    assert view.frames["slos"]["bad"].to_list() == [0]
    assert any("tenant a" in sentence for sentence in view.sentences)


def test_empty_stores_have_all_columns(database, live_scope):
    """Nothing recorded gives the frames of the contract, empty, and the reason."""
    view = slo_detail(database.reader, live_scope, slos=[SLO], slo="chat")
    assert view.empty.kind == "nothing_connected"
    assert view.measures["attainment_ratio"].value is None
    for name, columns in NAMES.items():
        assert view.frames[name].columns == columns
    assert view.frames["budget"]["budget_left_ratio"].null_count() == view.frames["budget"].height


def test_a_window_shorter_than_six_hours_has_no_six_hour_burn(database, traffic, live_scope):
    """A burn over more than the SLO's own window would answer another question."""
    short = Slo("short", "ttft", 0.9, 3600.0, ttft_seconds=1.0, match=SloMatch(models=("m",)))
    view = slo_detail(database.reader, live_scope, slos=[short], slo="short")
    assert view.measures["burn_6h"].value is None
    assert "window is only 1 h" in view.measures["burn_6h"].why
    assert view.measures["burn_1h"].value is not None


def test_without_data_no_burn_is_nought_and_no_alert_is_quiet(database, traffic, live_scope):
    """Requests that do not carry the quantity burn nothing that anybody knows of."""
    blind = Slo("blind", "e2e", 0.9, 86_400.0, e2e_seconds=1.0, alerts=SLO.alerts)
    view = slo_detail(database.reader, live_scope, slos=[blind], slo="blind")
    alerts = view.frames["alerts"]
    for name in ("burn_long", "burn_short", "firing"):
        assert alerts[name].null_count() == alerts.height
    assert all("E2E latency" in why for why in alerts["why"])
    assert view.measures["burn_1h"].value is None
    assert view.measures["burn_1h"].why
    for frame in (view.frames["burn"], view.frames["budget"]):
        assert all(frame[c].null_count() == frame.height for c in frame.columns if c != "at")


def test_a_burn_is_no_percentage(database, traffic, live_scope):
    """It says how many times too fast the budget goes."""
    view = slo_detail(database.reader, live_scope, slos=[SLO], slo="chat")
    assert view.measures["burn_1h"].unit == "x"
