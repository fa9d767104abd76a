"""Who is slow beside its own past, since when, by what: what the degradation view says."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analysis import incidents_found
from analysis.measure import View
from analysis.views import compute
from store.clock import VirtualClock
from store.database import Database
from store.errors import InputError
from store.queries.scope import Scope
from store.settings import StoreSettings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SCOPE = Scope((1,), NOW - timedelta(hours=2), NOW)


@pytest.fixture
def database() -> Iterator[Database]:
    with Database.open(None, StoreSettings(threads=1), VirtualClock(NOW)) as opened:
        yield opened


@pytest.fixture
def fleet(database: Database) -> Any:
    place = Path(__file__).parents[1] / "data" / "degraded_fleet.py"
    spec = importlib.util.spec_from_file_location("servescope_degraded_fleet", place)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module.Fleet(database, NOW)


def looked(database: Database, scope: Scope = SCOPE, **options: str) -> View:
    return compute("degradation", database.reader, scope, clock=VirtualClock(NOW), options=options)


def test_an_instance_that_slows_down_is_told_with_ratio_start_and_suspect(
    database: Database, fleet: Any
) -> None:
    fleet.engine("http://a:8000/metrics", {(900, 0): 1.7})
    fleet.engine("http://b:8000/metrics")
    fleet.machine("http://a:9100/metrics", node_processes_running=(2, {(900, 0): 9}),
                  node_processes_blocked=3)  # fmt: skip
    view = looked(database)
    first, second = view.frames["instances"].to_dicts()
    assert (first["instance"], first["state"], first["resource"]) == ("a:8000", "slowed",
                                                                      "processor")  # fmt: skip
    assert first["slowdown_factor"] == pytest.approx(1.7, abs=0.05)
    assert first["slowdown_factor_low"] <= 1.7 <= first["slowdown_factor_high"] + 0.02
    assert first["to_peers_factor"] == pytest.approx(1.7, abs=0.06)
    assert abs(first["since"] - datetime(2026, 3, 1, 11, 45)) <= timedelta(seconds=30)
    assert (second["instance"], second["state"]) == ("b:8000", "healthy")
    suspect = view.frames["suspects"].row(0, named=True)
    assert (suspect["signal"], suspect["place"]) == ("host.runnable", "a")
    assert suspect["before"] == pytest.approx(2, abs=0.2)
    assert suspect["during"] == pytest.approx(9, abs=0.5)
    assert "1.7 times as long per token" in view.sentences[0]
    assert "since 01 Mar 11:45 UTC" in view.sentences[0]
    assert view.measures["slowed"].value == 1


def test_a_fleet_at_its_usual_pace_is_said_to_be_healthy_with_windows_and_since(
    database: Database, fleet: Any
) -> None:
    fleet.engine("http://a:8000/metrics")
    fleet.engine("http://b:8000/metrics", running=8)
    view = looked(database)
    assert view.frames["incidents"].is_empty()
    assert view.frames["suspects"].is_empty()
    assert set(view.frames["instances"]["state"]) == {"healthy"}
    assert view.sentences[0].startswith("All 2 instances keep the usual pace of their load")
    assert "windows)" in view.sentences[0]
    assert view.measures["worst_slowdown"].why == "no instance is slowed now"


def test_more_load_alone_is_no_degradation(database: Database, fleet: Any) -> None:
    """Sixteen requests are slower per request than four, and always were."""
    count = fleet.count
    running = [4.0 if step % 80 < 40 else 16.0 for step in range(count)]
    written = pl.Series([100.0 * 15 if r == 4 else 200.0 * 15 for r in running]).cum_sum()
    fleet.target(
        "http://a:8000/metrics",
        {"requests_running": running, "generation_tokens_total": written}, "vllm", "m",
    )  # fmt: skip
    view = looked(database)
    assert view.frames["instances"]["state"].to_list() == ["healthy"]
    assert view.frames["incidents"].is_empty()


def test_an_incident_that_is_over_tells_how_it_ended_and_what_was_like_it(
    database: Database, fleet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, late = (6900.0, 6000.0), (1800.0, 1200.0)
    fleet.engine("http://a:8000/metrics", {early: 1.6, late: 1.6})
    fleet.machine("http://a:9100/metrics", node_processes_running=(2, {early: 9, late: 9}))
    view = looked(database)
    newest, oldest = view.frames["incidents"].to_dicts()
    assert newest["ending"] == oldest["ending"] == "recovered by itself"
    assert newest["resource"] == "processor"
    # The same cause an hour before is no part of what is usual.
    assert view.frames["suspects"]["multiple"][0] > 50
    alike = view.frames["similar"].to_dicts()
    assert [row["incident"] for row in alike] == [oldest["incident"]]
    assert alike[0]["similarity"] > 0.95
    assert alike[0]["seconds"] == pytest.approx(900, abs=60)
    chosen = looked(database, incident=oldest["incident"])
    assert chosen.frames["shown"]["incident"].to_list() == [oldest["incident"]]
    assert chosen.frames["similar"].is_empty()
    # Of many the newest are listed, and all are counted.
    monkeypatch.setattr(incidents_found, "MOST_INCIDENTS", 1)
    cut = looked(database)
    assert cut.frames["incidents"]["incident"].to_list() == [newest["incident"]]
    assert cut.total("incidents") == cut.measures["incidents"].value == 2


def test_an_incident_that_a_restart_ended_says_so(database: Database, fleet: Any) -> None:
    start = (100.0, {(1300, 0): 5000.0})
    fleet.engine(
        "http://a:8000/metrics", {(1800, 1200): 1.6},
        engine_start_unix_seconds=start,
    )  # fmt: skip
    # The noise of the mark is no restart: only its jump may count.
    database.writer.run(
        lambda c: c.execute(
            "UPDATE sample SET value = CASE WHEN value < 1000 THEN 100 ELSE 5000 END WHERE "
            "series_id IN (SELECT series_id FROM series WHERE "
            "signal = 'engine_start_unix_seconds')"
        )
    ).result()
    view = looked(database)
    assert view.frames["incidents"]["ending"].to_list() == ["recovered after a restart"]
    assert view.frames["happened"]["text"].to_list() == ["restarted"]


def test_an_instance_that_falls_silent_is_unknown_and_not_healthy(
    database: Database, fleet: Any
) -> None:
    fleet.engine("http://a:8000/metrics", {(2400, 1800): 1.8}, until_ago=1800.0)
    view = looked(database)
    row = view.frames["instances"].row(0, named=True)
    assert row["state"] == "unknown"
    assert "wrote nothing for 30 min" in row["why"]
    assert view.frames["incidents"]["ending"].to_list() == ["nothing was told any more"]
    assert "unknown" in view.sentences[0]


def test_without_a_change_around_it_no_cause_is_named(database: Database, fleet: Any) -> None:
    fleet.engine("http://a:8000/metrics", {(900, 0): 1.7})
    fleet.machine("http://a:9100/metrics", node_processes_running=2)
    view = looked(database)
    row = view.frames["incidents"].row(0, named=True)
    assert (row["resource"], row["strength"]) == ("unknown", None)
    assert "no other signal changed enough" in row["why_unknown"]
    assert "nothing can be named" in view.sentences[0]
    assert view.frames["suspects"].is_empty()


def test_an_engine_that_tells_no_pace_is_said_to_tell_none(database: Database, fleet: Any) -> None:
    fleet.target("http://a:8000/metrics", {"requests_running": [1.0] * 400}, "tgi", "m")
    view = looked(database)
    assert view.empty is not None
    assert view.empty.kind == "metric_absent"
    assert "generation_tokens_total" in view.empty.text


def test_nothing_connected_and_traces_say_which(database: Database) -> None:
    assert looked(database).empty.kind == "nothing_connected"  # type: ignore[union-attr]
    trace = looked(database, replace(SCOPE, source_ids=(7,)))
    assert trace.empty is not None
    assert "trace" in trace.empty.text


def test_neighbours_on_the_machine_are_suspects(database: Database, fleet: Any) -> None:
    fleet.engine("http://a:8000/metrics", {(900, 0): 1.5})
    fleet.target(
        "http://a:8001/metrics",
        {
            "requests_running": [1.0 if s < fleet.step_of(900) else 30.0
                                 for s in range(fleet.count)],
            "generation_tokens_total": pl.Series(
                [10.0 * 15 if s < fleet.step_of(900) else 900.0 * 15 for s in range(fleet.count)]
            ).cum_sum(),
        },
        "vllm", "other",
    )  # fmt: skip
    view = looked(database, replace(SCOPE, instances=("a:8000",)))
    assert view.frames["instances"]["instance"].to_list() == ["a:8000"]
    assert view.frames["instances"]["resource"].to_list() == ["neighbours"]


def test_an_unknown_incident_is_refused_with_those_that_there_are(
    database: Database, fleet: Any
) -> None:
    fleet.engine("http://a:8000/metrics")
    with pytest.raises(InputError, match="no incident 'x'"):
        looked(database, incident="x")


def test_an_incident_keeps_its_name_when_the_page_is_drawn_again(
    database: Database, fleet: Any
) -> None:
    fleet.engine("http://a:8000/metrics", {(900, 300): 1.7})
    names = {
        looked(database, Scope((1,), SCOPE.start + late, NOW + late)).frames["incidents"][
            "incident"
        ][0]
        for late in (timedelta(0), timedelta(seconds=17), timedelta(seconds=95))
    }
    assert len(names) == 1


def test_a_large_fleet_is_read_in_five_minutes_from_rollups(
    database: Database, fleet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.degradation_read._MOST_TARGETS", 1)
    fleet.engine("http://a:8000/metrics", {(3000, 0): 1.7})
    fleet.machine("http://a:9100/metrics", node_processes_running=(2, {(3000, 0): 9}))
    view = looked(database)
    row = view.frames["instances"].row(0, named=True)
    assert (row["state"], row["resource"], row["windows"]) == ("slowed", "processor", 10)
    assert row["since"] == datetime(2026, 3, 1, 11, 10)
