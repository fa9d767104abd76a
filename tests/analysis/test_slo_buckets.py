from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from analysis.slo import check
from analysis.slo_model import Calendar, Slo, SloMatch
from analysis.slo_views import slo_detail, slo_list
from store.queries import telemetry
from store.queries.scope import Scope
from store.sample_rollup import refresh_due
from store.targets import register

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = 3600.0
# Per ten seconds: 20 requests, 10 within .25 s, 15 within .5 s, 19 within 1 s.
TTFT = ((0.25, 0.5, 1.0), (10, 15, 19), 20, 8.0)
TPOT = ((0.02, 0.05), (12, 18), 20, 0.6)


def slo(kind, target=0.9, **fields):
    return Slo("a", kind, target, HOUR, **fields)


def only(reader, objective, scope):
    (status,) = check(reader, [objective], scope)
    return status


def test_a_threshold_on_a_bucket_edge_is_counted(database, add_target, live_scope):
    """Where the threshold is an edge, buckets give a number, and say what they leave out."""
    add_target("http://gpu-1:8000/metrics", ttft_seconds=TTFT)
    found = only(database.reader, slo("ttft", ttft_seconds=1.0), live_scope)
    assert found.basis == "buckets"
    assert found.attainment_ratio == pytest.approx(0.95)
    assert found.burn_1h == pytest.approx(0.5)
    assert found.status == "healthy"


def test_between_two_edges_only_bounds_are_given(database, add_target, live_scope):
    """vLLM's buckets cannot tell 0.7 s: the answer is an interval that names the nearest edges."""
    add_target("http://gpu-1:8000/metrics", ttft_seconds=TTFT)
    found = only(database.reader, slo("ttft", target=0.8, ttft_seconds=0.7), live_scope)
    assert found.attainment_ratio is None
    assert found.attainment_low < 0.75
    assert found.attainment_high > 0.95
    assert (found.status, found.met) == ("watch", None)
    assert "nearest: 500 ms and 1 s" in found.why


def test_a_joint_objective_has_bounds_only(database, add_target, live_scope):
    """Two marginal histograms say max(0, a + b - 1) to min(a, b), and nothing more."""
    add_target("http://gpu-1:8000/metrics", ttft_seconds=TTFT, tpot_seconds=TPOT)
    joint = slo("goodput", ttft_seconds=1.0, tpot_seconds=0.05)
    tally = only(database.reader, joint, live_scope).tally
    assert tally.good_low / tally.attempted == pytest.approx(0.85)
    assert tally.good_high / tally.attempted == pytest.approx(0.90)


def test_availability_counts_errors_aborts_and_refusals(database, add_target, live_scope):
    """Refused requests never finish; they are counted where the engine counts them."""
    add_target(
        "http://gpu-1:8000/metrics",
        requests_finished_total__stop=18,
        requests_finished_total__error=1,
        requests_refused_total__queue=1,
    )
    found = only(database.reader, slo("availability"), live_scope)
    assert found.attainment_ratio == pytest.approx(0.9)


def test_an_engine_without_histograms_is_no_data(database, add_target, live_scope):
    """llama.cpp has no TTFT histogram: that is said, and never reads as 100 % or 0 %."""
    add_target("http://box:8080/metrics", engine="llama.cpp", generation_tokens_total=10)
    found = only(database.reader, slo("ttft", ttft_seconds=1.0), live_scope)
    assert (found.status, found.attainment_low, found.attainment_high) == ("no data", None, None)
    assert found.why.startswith("needs TTFT")


def test_tenants_cannot_be_told_from_engine_metrics(database, add_target, live_scope):
    """An SLO of one tenant needs rows; the fleet's histogram is not a substitute."""
    add_target("http://gpu-1:8000/metrics", ttft_seconds=TTFT)
    objective = slo("ttft", ttft_seconds=1.0, match=SloMatch(tenants=("acme",)))
    found = only(database.reader, objective, live_scope)
    assert found.status == "no data"
    assert "request rows" in found.why


def test_another_models_histogram_is_not_used(database, add_target, live_scope):
    """An SLO of a model that is not served is no data."""
    add_target("http://gpu-1:8000/metrics", ttft_seconds=TTFT, model="other")
    objective = slo("ttft", ttft_seconds=1.0, match=SloMatch(models=("m",)))
    assert only(database.reader, objective, live_scope).status == "no data"


def test_the_pages_show_bounds_as_bounds(database, add_target, live_scope):
    """List and detail leave the number out, give the interval, and keep every frame."""
    add_target("http://gpu-1:8000/metrics", ttft_seconds=TTFT)
    objective = slo("ttft", target=0.8, ttft_seconds=0.7)
    row = slo_list(database.reader, live_scope, slos=[objective]).frames["slos"].row(0, named=True)
    assert (row["good"], row["budget_left_ratio"]) == (None, None)
    detail = slo_detail(database.reader, live_scope, slos=[objective], slo="a")
    assert detail.measures["attainment_ratio"].low < detail.measures["attainment_ratio"].high
    events = detail.frames["events"].drop_nulls()
    assert events["undetermined"].sum() == pytest.approx(0.2 * 359 * 20, rel=0.01)
    before = detail.frames["events"].filter(
        detail.frames["events"]["at"] < live_scope.start.replace(tzinfo=None) + timedelta(hours=4)
    )
    assert before["good"].null_count() == before.height


def test_a_week_of_scrapes_is_read_in_stretches_without_losing_requests(database, live_scope):
    """A long window reads few scrapes, and still counts every request that finished in it."""
    target = register(database.writer, "http://gpu-1:8000/metrics", NOW - timedelta(days=8))
    stamps = [NOW - timedelta(minutes=m) for m in range(7 * 1440, 0, -1)]
    frame = pl.DataFrame(
        {
            "target_id": [target.result()] * len(stamps),
            "signal": ["ttft_seconds"] * len(stamps),
            "unit": ["s"] * len(stamps),
            "labels": ["{}"] * len(stamps),
            "sampled_at": [at.replace(tzinfo=None) for at in stamps],
            "observation_count": [10.0 * k for k in range(len(stamps))],
            "observation_sum": [1.0 * k for k in range(len(stamps))],
            "edges": [[0.5, 1.0]] * len(stamps),
            "cumulative_counts": [[5.0 * k, 9.0 * k] for k in range(len(stamps))],
        }
    )
    database.writer.append("histogram_sample", frame).result()
    week = Slo("w", "ttft", 0.8, 7 * 86_400.0, ttft_seconds=1.0)
    found = only(database.reader, week, live_scope)
    # At most one stretch of six hours at the far end is unknown.
    assert 10 * 1440 * 6.75 <= found.tally.attempted <= 10 * 1440 * 7
    assert found.attainment_ratio == pytest.approx(0.9)
    points = telemetry.histogram_points(
        database.reader, ["ttft_seconds"], NOW - timedelta(days=7), NOW, 300
    )
    assert points.height < 400


def test_roll_ups_change_no_window(database):
    """Windows that decide are the same from roll-ups, though no bin of theirs is a whole bucket."""
    end = NOW + timedelta(seconds=97)
    scope = Scope((1,), end - timedelta(hours=6), end)
    target = register(
        database.writer, "http://gpu-1:8000/metrics", NOW - timedelta(days=8)
    ).result()
    stamps = [(end - timedelta(seconds=20 * k)).replace(tzinfo=None) for k in range(9000, 0, -1)]
    # Ever faster, and more of it late: each window has a share of its own.
    seen = [float(k * k // 1000) for k in range(9000)]
    common = {
        "target_id": [target] * len(stamps),
        "unit": ["s"] * len(stamps),
        "sampled_at": stamps,
    }
    histograms = {
        "signal": ["ttft_seconds"] * len(stamps),
        "labels": ["{}"] * len(stamps),
        "observation_count": seen,
        "observation_sum": seen,
        "edges": [[1.0]] * len(stamps),
        "cumulative_counts": [[n - n * k // 90_000] for k, n in enumerate(seen)],
    }
    database.writer.append("histogram_sample", pl.DataFrame(common | histograms)).result()
    for reason, share in (("stop", 1.0), ("error", 0.01)):
        counters = {
            "signal": ["requests_finished_total"] * len(stamps),
            "kind": ["counter"] * len(stamps),
            "labels": [f'{{"finish_reason": "{reason}"}}'] * len(stamps),
            "value": [n * share for n in seen],
        }
        database.writer.append("sample", pl.DataFrame(common | counters)).result()
    slos = [
        Slo("t", "ttft", 0.9, 86_400.0, ttft_seconds=1.0),
        Slo("a", "availability", 0.99, 36 * 3600.0),
        Slo("c", "ttft", 0.9, 86_400.0, ttft_seconds=1.0, calendar=Calendar("day", "Asia/Tokyo")),
    ]
    before = check(database.reader, slos, scope)
    assert refresh_due(database.writer, end).buckets > 400
    after = check(database.reader, slos, scope)
    for old, new in zip(before, after, strict=True):
        for name in ("attainment_ratio", "budget_left_ratio", "burn_1h", "burn_6h"):
            assert getattr(new, name) == pytest.approx(getattr(old, name))
        assert old.attainment_ratio is not None
        assert (new.status, new.basis) == (old.status, "buckets")
    # 20 s apart, of the 8999 steps those since 15:00 UTC of the day before are counted: midnight.
    since = 9000 - int((end - NOW + timedelta(hours=21)).total_seconds() // 20)
    # Its far end may be off by five minutes.
    assert before[2].tally.attempted == pytest.approx(seen[-1] - seen[since], rel=0.01)
