"""The workload views over small stores."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from analysis.workload import prefixes, views
from analysis.workload.schemas import VIEW_FRAMES, VIEW_UNITS
from store.queries import totals
from store.rollup import refresh_due

ALL = [getattr(views, name) for name in views.__all__]


@pytest.fixture
def two_traces(add_trace, random):
    """A steady stream and a bursty one with failures, tenants and sessions."""
    steady = add_trace(
        "fleet-steady",
        np.arange(0, 600, 0.5),
        tenant=["a", "b", "b", "b"] * 300,
        input_tokens=pl.Series([100] * 1200, dtype=pl.Int32),
        output_tokens=pl.Series([50] * 1200, dtype=pl.Int32),
    )
    bursty = add_trace(
        "fleet-bursty",
        np.sort(random.integers(0, 12, 600) * 50 + random.random(600)),
        tenant="c",
        status=["failed"] * 60 + ["ok"] * 540,
        session_id=[f"s{i % 100}" for i in range(600)],
        input_tokens=pl.Series(random.integers(1000, 4000, 600), dtype=pl.Int32),
        output_tokens=pl.Series([0] * 60 + [10] * 540, dtype=pl.Int32),
    )
    return steady, bursty


@pytest.mark.parametrize("view", ALL)
def test_a_full_answer_has_the_columns_it_promises(view, database, two_traces, whole):
    """Frames, measures and units are those of the schema, and a query stands behind each frame."""
    found = view(database.reader, whole(*two_traces))
    assert {n: list(f.schema) for n, f in found.frames.items()} == {
        n: list(s) for n, s in VIEW_FRAMES[found.name].items()
    }
    assert {n: m.unit for n, m in found.measures.items()} == dict(VIEW_UNITS[found.name])
    if found.empty is None:
        assert set(found.sql) == set(found.frames)
        assert all(text.lstrip().startswith(("SELECT", "WITH")) for text in found.sql.values())


@pytest.mark.parametrize("view", ALL)
def test_nothing_connected_is_said_and_keeps_the_columns(view, database, whole):
    """An empty store: every number unknown with its reason, every frame empty but typed."""
    found = view(database.reader, whole(1))
    assert found.empty.kind == "nothing_connected"
    assert all(m.value is None and m.why for m in found.measures.values())
    assert {n: dict(f.schema) for n, f in found.frames.items()} == {
        n: dict(s) for n, s in VIEW_FRAMES[found.name].items()
    }


@pytest.mark.parametrize("view", ALL)
def test_outside_the_range_names_the_last_record(view, database, two_traces, whole):
    """A range after the trace is not "no data": it says when the last record was."""
    scope = replace(
        whole(*two_traces),
        start=datetime(2030, 1, 1, tzinfo=UTC),
        end=datetime(2031, 1, 1, tzinfo=UTC),
    )
    found = view(database.reader, scope)
    assert found.empty.kind == "outside_range"
    assert found.empty.last_record_at.year == 2023


@pytest.mark.parametrize("view", ALL)
def test_a_gap_inside_the_record_is_no_traffic(view, database, add_trace, whole):
    """Between two requests an hour apart nothing arrived, which is known."""
    source = add_trace("sparse", [0, 3600])
    scope = whole(source)
    start = datetime.fromtimestamp(1_700_000_100, UTC)
    found = view(database.reader, replace(scope, start=start, end=start + timedelta(minutes=5)))
    assert found.empty.kind == "no_traffic"


@pytest.mark.parametrize("view", ALL)
def test_a_single_request_is_shown_without_made_up_numbers(view, database, add_trace, whole):
    """One request has a count, and no rate, variation or fit."""
    source = add_trace("one", [0], input_tokens=pl.Series([7], dtype=pl.Int32))
    found = view(database.reader, whole(source))
    assert all(m.value is not None or m.why for m in found.measures.values())


def test_sources_are_kept_apart_and_measures_are_of_all(database, two_traces, whole):
    """Frames name the source; the requests measure counts both."""
    found = views.workload_arrivals(database.reader, whole(*two_traces))
    assert found.measures["requests"].value == 1800
    assert set(found.frames["rate"]["source"]) == {"fleet-steady", "fleet-bursty"}
    assert set(found.frames["fits"]["source"]) == {"fleet-steady", "fleet-bursty"}


def test_output_leaves_failed_requests_out_and_says_so(database, two_traces, whole):
    """Input counts all 600, output the 540 that succeeded."""
    found = views.workload_lengths(database.reader, whole(two_traces[1]))
    assert found.measures["input_tokens_mean"].n == 600
    assert found.measures["output_tokens_mean"].n == 540
    assert found.measures["output_tokens_mean"].value == 10
    assert "600 attempted" in found.sentences[0]


def test_failures_are_a_share_of_what_was_attempted(database, two_traces, whole):
    """60 of 1,800, with an interval, by time and by tenant."""
    found = views.workload_failures(database.reader, whole(*two_traces))
    ratio = found.measures["failure_ratio"]
    assert ratio.value == pytest.approx(60 / 1800)
    assert ratio.low < ratio.value < ratio.high
    by_label = {(d, v): r for d, v, _, _, r in found.frames["by_label"].rows()}
    assert by_label["tenant", "c"] == pytest.approx(0.1)
    assert by_label["tenant", "a"] == 0
    assert found.frames["by_time"]["attempted"].sum() == 1800


def test_tenants_are_the_clients_where_they_are_known(database, two_traces, whole):
    """Shares by tenant, largest first, with their own failures."""
    found = views.workload_clients(database.reader, whole(*two_traces))
    table = found.frames["clients"]
    assert table["client"].to_list() == ["b", "c", "a"]
    assert table["share_ratio"].to_list() == [pytest.approx(x / 1800) for x in (900, 600, 300)]
    assert table["failure_ratio"].to_list() == [0, 0.1, 0]
    assert found.frames["lorenz"]["dimension"][0] == "tenant"


def test_requests_of_unknown_clients_are_counted_not_dropped(database, add_trace, whole):
    """A sentence says how many name no tenant."""
    source = add_trace("partly", [0, 1, 2, 3], tenant=["a", None, "b", "a"])
    found = views.workload_clients(database.reader, whole(source))
    assert found.measures["clients"].value == 2
    assert any("1 requests name no tenant" in sentence for sentence in found.sentences)


def test_sessions_are_the_clients_of_a_trace_without_labels(database, add_trace, whole):
    """With nothing else known, whoever holds a session is a client, under its own name."""
    source = add_trace("talk", [0, 1, 2, 5], session_id=["x", "y", "x", "x"])
    found = views.workload_clients(database.reader, whole(source))
    assert found.frames["clients"]["client"].to_list() == ["x", "y"]
    turns = views.workload_sessions(database.reader, whole(source))
    assert turns.measures["sessions"].value == 2
    assert turns.measures["gap_p50_seconds"].value == 2.5


def test_many_sessions_are_sampled_whole_and_that_is_said(database, add_trace, whole, monkeypatch):
    """Beyond the limit, some sessions are read with all their turns; the total is an estimate."""
    source = add_trace("talk", range(900), session_id=[f"s{i // 3}" for i in range(900)])
    monkeypatch.setattr("analysis.workload.session_view.MOST_REQUESTS", 300)
    found = views.workload_sessions(database.reader, whole(source))
    assert found.frames["turns"]["turns"].to_list() == [3]
    assert 60 < found.frames["turns"]["sessions"][0] < 140
    assert found.measures["sessions"].value == pytest.approx(300, rel=0.1)
    assert "one session in 3" in found.sentences[1]


def test_more_gaps_than_are_fitted_are_thinned_and_that_is_said(
    database, add_trace, whole, random, monkeypatch
):
    """Fits of a long trace name the share of gaps they use; the count stays exact."""
    source = add_trace("long", np.cumsum(random.exponential(1, 900)))
    monkeypatch.setattr("analysis.workload.gaps.MOST_FITTED_GAPS", 300)
    found = views.workload_arrivals(database.reader, whole(source))
    assert found.measures["requests"].value == 900
    assert "one gap in 4 of 899" in found.frames["fits"]["why"][0]


def test_variation_of_many_requests_is_that_of_the_newest(
    database, add_trace, whole, random, monkeypatch
):
    """A steady end after a bursty start: the table shows the end, a sentence says since when."""
    seconds = np.concatenate((np.cumsum(random.gamma(0.1, 10, 500)), 2000 + np.arange(500.0)))
    source = add_trace("turned", np.sort(seconds), tenant="a")
    monkeypatch.setattr("analysis.workload.client_view._MOST_VARIED", 100)
    found = views.workload_clients(database.reader, whole(source))
    assert found.frames["clients"]["requests"][0] == 1000
    assert found.frames["clients"]["interarrival_cv"][0] == pytest.approx(0, abs=1e-6)
    assert any("since 2023-11-1" in sentence for sentence in found.sentences)


def test_labels_of_the_scope_choose_rows(database, two_traces, whole):
    """A scope of one tenant counts its requests only."""
    found = views.workload_arrivals(database.reader, whole(*two_traces, tenants=("a",)))
    assert found.measures["requests"].value == 300


def test_a_quantised_clock_hides_the_variation_but_not_the_counts(
    database, add_trace, whole, random
):
    """Lumps every three seconds: no variation, no fit, but a dispersion."""
    source = add_trace("lumps", np.sort(random.integers(0, 200, 2000)) * 3.0)
    found = views.workload_arrivals(database.reader, whole(source))
    assert found.measures["interarrival_cv"].value is None
    assert "quantised" in found.measures["interarrival_cv"].why
    assert not found.frames["fits"]["accepted"].any()
    bursts = views.workload_burstiness(database.reader, whole(source))
    assert bursts.measures["idc_10s"].value is not None


def test_whole_seconds_refuse_fits_but_keep_the_variation(database, add_trace, whole, random):
    """Rounding to a ninth of the mean gap hides the shape, not the spread, of bursty gaps."""
    seconds = np.floor(np.cumsum(random.gamma(0.5, 12, 4000)))
    source = add_trace("seconds", seconds, clock="local_unknown", relative=True)
    found = views.workload_arrivals(database.reader, whole(source))
    assert found.measures["interarrival_cv"].value == pytest.approx(2**0.5, rel=0.1)
    assert not found.frames["fits"]["accepted"].any()
    assert any("no date" in sentence for sentence in found.sentences)
    assert 0 in set(found.frames["weekly"]["weekday"])


def test_client_windows_give_rates_shares_and_the_day(database, add_trace, whole):
    """A source of rate series has a fleet rate and client shares, and no single arrivals."""
    source = add_trace("rates", clock="relative")

    def insert(connection):
        connection.execute(
            "INSERT INTO client_rate SELECT ?, c.client, TIMESTAMP '1970-01-01' +"
            " to_seconds(600 * w), 600, c.rate, 2.0, 'Gamma', 0.25, 1.0"
            " FROM range(432) AS t(w), (VALUES ('a', 3.0), ('b', 1.0)) AS c(client, rate)",
            [source],
        )

    database.writer.run(insert).result()
    arrivals = views.workload_arrivals(database.reader, whole(source))
    assert arrivals.measures["requests_per_second"].value == pytest.approx(4)
    assert arrivals.measures["interarrival_cv"].value == pytest.approx(2)
    assert arrivals.frames["rate"].height == 432
    assert arrivals.frames["diurnal"].height == 24
    assert arrivals.frames["sources"]["peak_to_mean_day_ratio"][0] == pytest.approx(1)
    people = views.workload_clients(database.reader, whole(source))
    assert people.measures["top1_share_ratio"].value == pytest.approx(0.75)
    assert views.workload_lengths(database.reader, whole(source)).empty.kind == "metric_absent"


def _add_prefixes(database, source, hashes):
    def insert(connection):
        frame = pl.DataFrame({"h": hashes}, schema={"h": pl.List(pl.UInt64)})
        connection.register("given", frame.with_row_index("i").to_arrow())
        connection.execute(
            "INSERT INTO request_prefix SELECT r.source_id, r.request_key, r.arrived_at, g.h FROM"
            " (SELECT *, row_number() OVER (ORDER BY arrived_at) - 1 AS i FROM request"
            "  WHERE source_id = ?) AS r JOIN given AS g USING (i)",
            [source],
        )
        connection.unregister("given")

    database.writer.run(insert).result()


def test_prefix_reuse_counts_blocks_and_tokens_in_order_of_arrival(database, add_trace, whole):
    """The third prompt repeats the first: two of five blocks, 20 of 50 tokens."""
    tokens = pl.Series([20, 10, 20], dtype=pl.Int32)
    source = add_trace("chains", [0, 1, 2], block_tokens=16, input_tokens=tokens)
    _add_prefixes(database, source, [[1, 2], [3], [1, 2]])
    found = views.workload_prefix(database.reader, whole(source))
    assert found.measures["infinite_block_hit_ratio"].value == pytest.approx(0.4)
    assert found.measures["infinite_token_hit_ratio"].value == pytest.approx(0.4)
    assert found.measures["unique_blocks"].value == 3
    assert found.frames["lru"].row(-1) == (3, 48, 0.4, 0.4)


def test_beyond_the_limit_only_the_infinite_cache_is_stated(
    database, add_trace, whole, monkeypatch
):
    """Too many references for an exact curve: the ratio stays, the reason is given."""
    source = add_trace("chains", [0, 1], block_tokens=16)
    _add_prefixes(database, source, [[1, 2], [1, 3]])
    monkeypatch.setattr(prefixes, "MOST_REFERENCES", 3)
    found = views.workload_prefix(database.reader, whole(source))
    assert found.measures["infinite_block_hit_ratio"].value == pytest.approx(0.25)
    assert "choose a shorter range" in found.measures["infinite_token_hit_ratio"].why
    assert found.frames["lru"].is_empty()


def test_engine_counters_alone_are_not_requests(database, whole):
    """A live fleet that is only scraped says that this page needs single requests."""

    def insert(connection):
        connection.execute(
            "INSERT INTO series (series_id, target_id, signal, kind, unit, labels)"
            " VALUES (1, 1, 'requests_running', 'gauge', 'requests', '{}')"
        )

    database.writer.run(insert).result()
    found = views.workload_arrivals(database.reader, whole(1))
    assert found.empty.kind == "metric_absent"
    assert "counters only" in found.empty.text


def test_a_record_that_was_counted_reads_as_its_rows(database, two_traces, whole):
    """Every view tells the same before and after the job that keeps roll-ups."""
    scope = whole(*two_traces)
    before = [view(database.reader, scope) for view in ALL]
    refresh_due(database.writer, datetime(2026, 6, 1, tzinfo=UTC))
    assert totals.attempted(database.reader, scope) == 1800
    for view, one in zip(ALL, before, strict=True):
        after = view(database.reader, scope)
        assert (after.measures, after.sentences) == (one.measures, one.sentences)
        for name, frame in one.frames.items():
            assert_frame_equal(after.frames[name], frame)
    database.writer.run(lambda con: con.execute("DELETE FROM rollup_length")).result()
    assert views.workload_lengths(database.reader, scope).empty is not None
