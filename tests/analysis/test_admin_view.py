from datetime import UTC, datetime

from analysis.admin_view import PAGES, admin, source_coverage, target_coverage
from store.queries.admin import carried

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_the_store_is_laid_open(database, add_requests, add_target, live_scope):
    """Sources, targets, tables and ages are all there, and sizes that are unknown say so."""
    add_requests([60.0, 30.0], input_tokens=5)
    add_target("http://gpu-1:8000/metrics", requests_waiting=1)
    view = admin(database.reader, live_scope, now=NOW)
    (source,) = view.frames["sources"].to_dicts()
    assert (source["name"], source["requests"]) == ("live", 2)
    (target,) = view.frames["targets"].to_dicts()
    assert (target["state"], target["data_age_seconds"], target["error"]) == ("ready", 10.0, None)
    rows = dict(view.frames["tables"].select("table", "rows").iter_rows())
    assert (rows["request"], rows["sample"], rows["scrape"]) == (2, 360, 360)
    assert view.measures["rows_total"].value == sum(rows.values())
    assert view.measures["data_age_seconds"].value == 10.0
    assert view.measures["store_bytes"].value is None
    assert view.empty is None


def test_the_query_beside_the_sources_gives_what_the_table_says(
    database, add_requests, add_target, live_scope
):
    """Requests, scrapes, and a trace of which nothing is left."""
    add_requests([60.0, 30.0])
    add_target("http://gpu-1:8000/metrics", requests_waiting=1)
    database.writer.run(
        lambda connection: connection.execute(
            "INSERT INTO source (source_id, name, kind, format, clock, created_at)"
            " VALUES (7, 'old', 'trace', 'azure', 'relative', '2026-01-01')"
        )
    ).result()
    view = admin(database.reader, live_scope, now=NOW)
    shown = view.frames["sources"]
    pasted = database.reader.frame(view.sql["sources"])
    assert pasted.select(shown.columns).rows() == shown.rows()
    assert shown["first_at"].null_count() == 1


def test_coverage_names_what_is_missing(database, add_requests, add_target, live_scope):
    """A page that stays empty can be traced to the field its source does not carry."""
    add_requests([60.0, 30.0], input_tokens=5, output_tokens=5, tenant="a")
    add_target("http://gpu-1:8000/metrics", requests_waiting=1)
    coverage = admin(database.reader, live_scope, now=NOW).frames["coverage"]
    cells = {(r["page"], r["target_or_source"]): r for r in coverage.iter_rows(named=True)}
    assert cells["Workload: lengths", "live"]["state"] == "full"
    assert cells["Workload: clients", "live"]["state"] == "full"
    assert cells["Workload: sessions", "live"]["missing"] == "session_key"
    assert cells["SLOs", "live"]["state"] == "partial"
    assert "ttft_seconds" in cells["SLOs", "live"]["missing"]
    assert cells["Fleet", "gpu-1:8000"]["state"] == "partial"
    assert cells["Workload: arrivals", "gpu-1:8000"]["state"] == "none"


def test_a_field_is_carried_once_any_request_of_the_source_has_it(database, add_requests):
    """What one source carries says nothing about another."""
    add_requests([60.0])
    add_requests([50.0], input_tokens=5, model="m")
    found = carried(database.reader, [1, 7])
    assert found == {1: {"requests", "input_tokens", "model"}, 7: set()}
    numbers = {"output_tokens": 5, "ttft_seconds": 0.1, "tpot_seconds": 0.1, "e2e_seconds": 1.0}
    add_requests([40.0], tenant="a", route="r", session_id="s", **numbers)
    assert carried(database.reader, [1])[1] == {
        "requests", "input_tokens", "model", "tenant", "route", "session_key", *numbers
    }  # fmt: skip


def test_rate_series_cover_part_of_the_arrivals():
    """A trace of client rates is neither nothing nor a trace of requests."""
    held = {"rates"}
    by_page = {needs.page: source_coverage(needs, held) for needs in PAGES}
    assert by_page["Workload: arrivals"][0] == "partial"
    assert by_page["Workload: lengths"][0] == "none"


def test_every_page_with_signals_can_be_full():
    """The signals a page asks for are those of the catalogue, so a full engine reads full."""
    for needs in PAGES:
        if needs.signals:
            one_of_each = [group.split("|")[0] for group in needs.signals]
            assert target_coverage(needs, one_of_each) == ("full", "")


def test_a_dead_target_is_the_first_thing_said(database, add_target, live_scope):
    """The page leads with what is broken."""
    add_target("http://gpu-1:8000/metrics", last_failed=3)
    view = admin(database.reader, live_scope, now=NOW)
    assert view.sentences[0].startswith("http://gpu-1:8000/metrics is unreachable")


def test_an_empty_store_is_nothing_connected(database, live_scope):
    """Every table exists and is empty; no age is made up."""
    view = admin(database.reader, live_scope, now=NOW)
    assert view.empty.kind == "nothing_connected"
    assert view.measures["data_age_seconds"].value is None
    assert view.sentences == ()
