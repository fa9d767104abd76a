"""What a running process shares: cache, objectives, example data, jobs."""

import json
import os
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import fairness_courses, timeline
from servescope import slo_history
from servescope.cli.serve import clear_incoming, open_runtime
from servescope.documents import csv_safe, plain
from servescope.importing import load_example
from servescope.json_text import to_json
from servescope.maintenance import jobs_for
from store import replays
from store.database import incoming_folder
from store.errors import InputError


@pytest.fixture
def traced(filled):
    incoming_folder(filled.database.path).mkdir()
    load_example(filled.database)
    return filled


def test_the_example_can_be_loaded_into_a_running_server(runtime):
    """The button of the first-run page works although the server's SQL may read no files."""
    incoming_folder(runtime.database.path).mkdir()
    assert "28,185 requests, 28,185 new" in load_example(runtime.database)
    assert "already there" in load_example(runtime.database)
    names = [source.name for source in runtime.catalog()]
    assert names == ["live", "azure-2023-conv", "azure-2023-code"]
    assert not list(incoming_folder(runtime.database.path).iterdir())


def test_live_rows_do_not_make_a_trace_be_computed_again(traced, clock, more_requests):
    """A trace changes by imports only."""
    params = {"source": "azure-2023-code"}
    first = traced.view("workload_arrivals", params)
    later = more_requests(3, at=clock.now() + timedelta(hours=1))
    traced.database.writer.append("request", later).result()
    clock.advance(60)
    assert traced.view("workload_arrivals", params) is first


def test_findings_and_fairness_of_a_range_look_at_its_tenants_once(
    filled, more_requests, monkeypatch
):
    """Whichever is asked first; another range, and another service of a token, are looked at."""
    filled.database.writer.append("request", more_requests(50, tenant="other")).result()
    looked = []

    def counting(*asked):
        looked.append(asked)
        return flows(*asked)

    flows = fairness_courses.flows
    monkeypatch.setattr(fairness_courses, "flows", counting)
    found = filled.view("workload_findings", {}).frames["findings"]["subject"]
    view = filled.view("fairness", {}, {"shown": "3"})
    assert filled.view("fairness_interference", {}).empty is None
    assert len(looked) == 1
    assert view.measures["tenants"].value == 2
    assert found.len() > 0
    filled.view("fairness", {}, {"output_weight": "1"})
    filled.view("workload_findings", {"from": "now-2h"})
    assert len(looked) == 3


def test_what_people_did_is_there_at_once(traced, clock):
    """A wish is seen by the next look, whatever trace is looked at."""
    params = {"source": "azure-2023-code"}
    assert traced.view("replays", params).empty is not None
    row = replays.ReplayRow(
        "20260131-120000-0a1b2c", clock.now(), "ana", "azure-2023-code", {}, 0.99, {}, "", False
    )  # fmt: skip
    replays.add(traced.database.writer, row).result()
    assert traced.view("replays", params).frames["replays"].height == 1


def test_viewers_who_ask_within_a_moment_ask_the_same(filled, clock):
    """`now` is rounded down, so that their ranges are equal."""
    clock.advance(0.5)
    first = filled.scope({})
    clock.advance(2)
    assert filled.scope({}) == first
    clock.advance(5)
    assert filled.scope({}) != first


def test_label_values_are_those_of_the_scope(traced):
    """Filters offer what there is, most frequent first."""
    both = {"source": "azure-2023-conv,azure-2023-code"}
    assert traced.label_values(both)["route"] == ["conv", "code"]
    assert traced.label_values({"source": "azure-2023-code", "route": "x"})["route"] == ["code"]
    assert traced.label_values({"source": "live"})["model"] == ["llama"]


def test_the_age_of_the_data_is_that_of_the_newest_live_row(filled, clock):
    """Traces play no part in freshness."""
    age = filled.data_age()
    assert age.newest_at == clock.now() - timedelta(minutes=1)
    assert (age.fresh, age.total) == (0, 0)


def test_every_job_of_the_server_runs_over_a_real_store(traced):
    """The first roll-up does something, the second finds nothing to do."""
    jobs = {job.name: job for job in jobs_for(traced)}
    done = jobs["rollup"].work()
    assert done is not None
    assert done["buckets"] > 0
    assert jobs["rollup"].work() is None
    for job in jobs.values():
        job.work()


def test_a_killed_servers_uploads_are_cleared_at_the_next_start(runtime, tmp_path):
    """Half an upload does not stay for ever."""
    path = tmp_path / "next.duckdb"
    folder = incoming_folder(path)
    (folder / "half").mkdir(parents=True)
    (folder / "half.parquet").write_bytes(b"PAR1")
    clear_incoming(path)
    assert list(folder.iterdir()) == []


def test_an_unreadable_slo_file_stops_the_start(runtime, tmp_path):
    """Start strictly: a mistake is found before anything runs."""
    config = runtime.config
    object.__setattr__(config.server, "slo_file", str(tmp_path / "absent.toml"))
    with ExitStack() as stack, pytest.raises(InputError, match=r"absent\.toml"):
        open_runtime(config, tmp_path / "other.duckdb", stack, ephemeral=False)
    assert not (tmp_path / "other.duckdb").exists()


def history(runtime):
    runtime.database.writer.flush()
    return runtime.database.reader.frame("SELECT * FROM slo ORDER BY since_at").to_dicts()


def test_objectives_are_remembered_once_and_again_when_they_change(runtime, clock):
    """An unchanged file adds nothing, nor does a new remark; a changed threshold adds one row."""
    book, file = runtime.slos, runtime.slos.path
    book.load()
    book.keep_history(partial(slo_history.keep, runtime.database))
    (first,) = history(runtime)
    assert (first["name"], first["since_at"]) == ("chat", clock.now().replace(tzinfo=None))
    assert json.loads(first["definition"])["target_ratio"] == 0.9
    clock.advance(60)
    file.write_text(f'# a remark\n{file.read_text("utf-8")}description = "chats"\n', "utf-8")
    book.load()
    assert history(runtime) == [first]
    file.write_text(file.read_text("utf-8").replace("0.9", "0.95"), "utf-8")
    os.utime(file, ns=(1, 1))
    clock.advance(60)
    assert book.definitions()[0].target_ratio == 0.95
    kept, new = history(runtime)
    assert kept == first
    assert json.loads(new["definition"])["target_ratio"] == 0.95
    assert new["since_at"] > first["since_at"]


def test_a_store_that_is_closed_does_not_keep_objectives_from_being_read(runtime, caplog):
    """The history is a by-product: its loss is a line in the log."""
    runtime.slos.keep_history(partial(slo_history.keep, runtime.database))
    runtime.database.close()
    runtime.slos.load()
    assert runtime.slos.problem is None
    assert "slo_history_lost" in caplog.text


@given(st.lists(st.one_of(st.none(), st.text(max_size=8)), min_size=1, max_size=5))
def test_no_text_in_a_csv_begins_like_a_formula(values):
    """Whatever a tenant is called."""
    safe = csv_safe(pl.DataFrame({"tenant": values}, schema={"tenant": pl.String}))
    for before, after in zip(values, safe["tenant"], strict=True):
        assert after is None or after[:1] not in tuple("=+-@\t\r")
        assert after == before or after == f"'{before}"


@given(st.floats() | st.decimals(allow_nan=True, allow_infinity=True) | st.integers())
def test_any_number_becomes_valid_json(value):
    """NaN and infinity are null, sums wider than 64 bits keep their digits."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return
    assert to_json({"value": value})
    assert set(plain({"value": value})) == {"value"}


def test_what_happened_is_looked_up_once_until_somebody_tells_of_more(
    filled, more_requests, monkeypatch
):
    """The Fleet page lists it and draws it; requests that come meanwhile do not ask for it anew."""
    asked, happened = [], timeline.happened
    monkeypatch.setattr(timeline, "happened", lambda *a: asked.append(a) or happened(*a))
    params = {"from": "2026-03-01T06:00:00Z", "to": "2026-03-01T12:00:00Z"}
    filled.view("fleet", params)
    filled.database.writer.append("request", more_requests(5)).result()
    filled.view("happenings", params)
    assert len(asked) == 1
    told = {"event_id": "one", "kind": "deployment", "subject": "chat", "text": "chat 2.0 is out",
            "started_at": datetime(2026, 3, 1, 11), "source_id": 1}  # fmt: skip
    filled.database.writer.append("event", pl.DataFrame([told])).result()
    assert "chat 2.0 is out" in filled.view("happenings", params).frames["events"]["text"].to_list()
