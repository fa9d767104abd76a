"""The answer behind `servescope top`: the Fleet page's numbers, and each instance's own."""

from datetime import UTC, datetime, timedelta

import pytest

from analysis.fleet import fleet
from analysis.fleet_models import fleet_models
from analysis.fleet_top import top
from analysis.slo_model import Slo
from store.queries.scope import Scope

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
QUARTER = Scope((1,), NOW - timedelta(minutes=15), NOW)
TTFT = ((0.25, 0.5, 1.0), (10, 15, 19), 20, 8.0)


def test_it_says_what_the_fleet_page_says(database, add_target, add_requests):
    """Sentences and numbers are the same; rows of requests tell of tenants beside that."""
    add_target("http://gpu-1:8000/metrics", requests_running=1, ttft_seconds=TTFT)
    add_requests([2.0 * i + 1 for i in range(400)], tenant=["a"] * 300 + ["b"] * 100,
                 input_tokens=10, output_tokens=5, ttft_seconds=0.4)  # fmt: skip
    slos = [Slo("first", "ttft", 0.9, 3600.0, ttft_seconds=1.0)]
    view = top(database.reader, QUARTER, slos=slos, now=NOW)
    page = fleet(database.reader, QUARTER, slos=slos)
    assert view.sentences == page.sentences
    for name, measure in page.measures.items():
        assert view.measures[name] == measure
    models = fleet_models(database.reader, QUARTER, slos=slos).frames["models"]
    assert view.frames["models"].equals(models)
    tenants = {row["tenant"]: row["share_ratio"] for row in view.frames["tenants"].to_dicts()}
    assert tenants == {"a": pytest.approx(0.75), "b": pytest.approx(0.25)}
    (objective,) = view.frames["objectives"].to_dicts()
    assert (objective["name"], objective["status"]) == ("first", "healthy")
    assert view.measures["data_age_seconds"].value < 60


def test_an_instance_shows_its_own_latency_and_tokens(database, add_target, add_requests):
    """From its buckets as bounds; from rows that name it as a number."""
    for number in (1, 2):
        add_target(f"http://gpu-{number}:8000/metrics", requests_running=1, ttft_seconds=TTFT,
                   generation_tokens_total=100)  # fmt: skip
    add_requests([2.0 * i + 1 for i in range(400)], instance="gpu-2:8000", input_tokens=10,
                 output_tokens=9, ttft_seconds=0.2)  # fmt: skip
    rows = {r["instance"]: r for r in top(database.reader, QUARTER, now=NOW)
            .frames["instances"].to_dicts()}  # fmt: skip
    first, second = rows["gpu-1:8000"], rows["gpu-2:8000"]
    assert (first["ttft_p95_seconds_low"], first["ttft_p95_seconds_high"]) == (0.5, 1.0)
    assert first["output_tokens_per_second"] == pytest.approx(10.0)
    assert second["ttft_p95_seconds_low"] == pytest.approx(0.2, rel=0.022)
    assert second["output_tokens_per_second"] == pytest.approx(400 * 9 / 900)


def test_an_empty_store_has_no_age(database):
    """Unknown, with the reason; the view is empty for one of the four reasons."""
    view = top(database.reader, QUARTER, now=NOW)
    assert view.measures["data_age_seconds"].value is None
    assert view.empty.kind == "nothing_connected"
