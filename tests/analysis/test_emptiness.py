from datetime import timedelta

import pytest

from analysis.emptiness import why_empty
from store.queries.scope import Scope


def test_nothing_connected(database, live_scope):
    """A fresh store asks for a source."""
    found = why_empty(database.reader, live_scope)
    assert (found.kind, found.last_record_at) == ("nothing_connected", None)


def test_a_store_of_traces_has_nothing_live(database, live_scope):
    """Who imported a trace is not told that there is no source."""
    columns = "(source_id, name, kind, format, clock, created_at)"
    sql = f"INSERT INTO source {columns} VALUES (7, 'monday', 'trace', 'csv', 'utc', now())"
    database.writer.run(lambda connection: connection.execute(sql)).result()
    found = why_empty(database.reader, live_scope)
    assert found.kind == "nothing_connected"
    assert "recorded traces only" in found.text


def test_outside_the_range_the_last_record_is_offered(database, add_requests, live_scope):
    """The page can offer to jump to the last data."""
    add_requests([86_400.0 * 3])
    found = why_empty(database.reader, live_scope)
    assert found.kind == "outside_range"
    assert found.last_record_at == live_scope.end - timedelta(days=3)


def test_a_missing_field_is_named(database, add_requests, live_scope):
    """Token counts cannot feed a latency page."""
    add_requests([60.0], input_tokens=5)
    assert why_empty(database.reader, live_scope) is None
    found = why_empty(database.reader, live_scope, "ttft_seconds")
    assert found.kind == "metric_absent"
    assert "time to first token" in found.text


@pytest.mark.parametrize("needs", ["tenant", "session_key", "block_hashes", "ttft_seconds"])
def test_present_fields_are_no_reason(database, add_requests, live_scope, needs):
    """What is there is not called missing, and what is not there is."""
    add_requests([60.0], tenant="a", ttft_seconds=0.5, session_id="s")
    found = why_empty(database.reader, live_scope, needs)
    assert (found is None) == (needs != "block_hashes")


def test_no_traffic_between_two_requests(database, add_requests, live_scope):
    """A quiet range inside the record is no traffic, not missing data."""
    add_requests([7200.0, 60.0])
    end = live_scope.end - timedelta(hours=1)
    quiet = Scope((1,), end - timedelta(minutes=30), end)
    assert why_empty(database.reader, quiet).kind == "no_traffic"


def test_no_traffic_with_these_labels(database, add_requests, live_scope):
    """A filter that matches nobody is said to match nobody."""
    add_requests([60.0], model="a")
    chosen = Scope((1,), live_scope.start, live_scope.end, models=("b",))
    found = why_empty(database.reader, chosen)
    assert (found.kind, "labels" in found.text) == ("no_traffic", True)


def test_scrapes_are_data_but_not_request_rows(database, add_target, live_scope):
    """A scraped fleet is not empty, but pages that need rows say what they need."""
    add_target("http://gpu-1:8000/metrics")
    assert why_empty(database.reader, live_scope) is None
    assert why_empty(database.reader, live_scope, "input_tokens").kind == "metric_absent"


def test_a_target_that_never_answered(database, add_target, live_scope):
    """A wrong URL is not called an empty store."""
    add_target("http://gpu-1:8000/metrics", last_failed=360)
    found = why_empty(database.reader, live_scope)
    assert (found.kind, "never answered" in found.text) == ("nothing_connected", True)


def test_an_unknown_need_is_a_mistake_in_the_code(database, live_scope):
    """Field names are ours, not the user's."""
    with pytest.raises(ValueError, match="no_such_column"):
        why_empty(database.reader, live_scope, "no_such_column")
