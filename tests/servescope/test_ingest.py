"""Request rows by POST: four forms, each row on its own, each of them once."""

import gzip
import io
from datetime import UTC, datetime

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from collector.request_rows.fields import FIELDS, MEANINGS
from collector.request_rows.forms import ARROW, FORMS, JSON, LINES, PARQUET
from servescope.config import load
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
from store.append import REQUEST_FRAME
from store.database import Database

PATH = "/api/v1/requests"
ROW = {
    "request_id": "gw-1", "arrived_at": "2026-01-31T11:59:00.25Z", "status": "ok",
    "tenant": "acme", "model": "m", "route": "chat", "instance": "gpu-1", "slo_class": "gold",
    "finish_reason": "stop", "input_tokens": 812, "output_tokens": 120, "cached_tokens": 64,
    "predicted_output_tokens": 100, "queue_seconds": 0.01, "prefill_seconds": 0.1,
    "decode_seconds": 2.0, "ttft_seconds": 0.21, "tpot_seconds": 0.018, "e2e_seconds": 2.35,
    "itl_p50_seconds": 0.015, "itl_p95_seconds": 0.03, "itl_p99_seconds": 0.06,
    "itl_max_seconds": 0.5, "retry_after_seconds": 1.5, "admission_reason": "queue_full",
    "attempt": 2, "is_counted": False, "tenant_weight": 2.5, "policy_version": 3, "decision_id": 17,
    "session_id": "s-1", "trace_id": "0AF7651916CD43DD8448EB211C80319C",
}  # fmt: skip


def arrow(rows, **options):
    table = pa.Table.from_pylist(rows)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as stream:
        stream.write_table(table)
    return sink.getvalue()


def parquet(rows, **options):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, **options)
    return sink.getvalue()


ENCODERS = {
    JSON: orjson.dumps,
    LINES: lambda rows: b"\n".join(orjson.dumps(row) for row in rows) + b"\n",
    ARROW: arrow,
    PARQUET: parquet,
}


@pytest.fixture
def post(client):
    def posting(body, form=JSON, **headers):
        return client.post(PATH, content=body, headers={"Content-Type": form, **headers})

    return posting


def live(runtime):
    sql = "SELECT * FROM requests WHERE tenant IS DISTINCT FROM '=cmd()' ORDER BY arrived_at"
    return runtime.database.reader.frame(sql).to_dicts()


def test_the_fields_are_those_of_the_store():
    """Whatever the store keeps of a request can be posted, and every field is explained."""
    ours = set(REQUEST_FRAME) - {"source_id"}
    assert set(FIELDS) == set(MEANINGS) == ours == set(ROW)


@pytest.mark.parametrize("form", ENCODERS)
def test_a_row_is_stored_as_it_was_posted(filled, post, form):
    """In each form, with every field."""
    answer = post(ENCODERS[form]([ROW]), form)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "rows": 1, "added": 1, "duplicate": 0, "rejected": 0, "reasons": [],
    }  # fmt: skip
    (found,) = live(filled)
    told = {**ROW, "arrived_at": datetime(2026, 1, 31, 11, 59, 0, 250_000)}
    told["trace_id"] = "0af76519-16cd-43dd-8448-eb211c80319c"
    del told["request_id"]
    assert {name: str(found[name]) for name in told} == {k: str(v) for k, v in told.items()}
    assert found["source"] == "live"


@pytest.mark.parametrize("form", ENCODERS)
def test_sent_again_changes_nothing(filled, post, form):
    """By its id, whatever form it comes in the second time."""
    post(ENCODERS[JSON]([ROW]))
    again = post(ENCODERS[form]([ROW, ROW]), form).json()
    assert (again["added"], again["duplicate"]) == (0, 2)
    assert len(live(filled)) == 1


def test_bad_rows_are_named_and_the_good_ones_kept(filled, post):
    """Each reason with how many and where."""
    rows = [
        ROW,
        {**ROW, "request_id": "b", "status": "fine"},
        {**ROW, "request_id": "c", "input_tokens": -1},
        {**ROW, "request_id": "d", "input_tokens": 1.5},
        {**ROW, "request_id": "e", "ttft_second": 1},
        "no row",
        {"status": "ok"},
        {**ROW, "request_id": "f", "is_counted": "yes"},
    ]
    told = post(orjson.dumps(rows)).json()
    assert (told["rows"], told["added"], told["rejected"]) == (8, 1, 7)
    reasons = {reason["reason"]: reason for reason in told["reasons"]}
    assert reasons["input_tokens must be a whole number from 0 to 100,000,000"]["first"] == [2, 3]
    assert any("did you mean ttft_seconds?" in reason for reason in reasons)
    assert reasons["it is no JSON object"]["first"] == [5]
    assert reasons["arrived_at is missing"]["first"] == [6]
    assert reasons["is_counted must be true or false"]["first"] == [7]
    assert len(live(filled)) == 1
    assert sum(filled.drops.totals().values()) == 7


def test_a_broken_line_costs_only_itself(post):
    """NDJSON is read line by line."""
    body = (
        orjson.dumps(ROW) + b'\n{"request_id": "cut\n\n' + orjson.dumps({**ROW, "request_id": "x"})
    )
    told = post(body, LINES).json()
    assert (told["added"], told["rejected"]) == (2, 1)


def test_nothing_good_is_a_problem(post):
    """A sender that is wrong throughout must notice."""
    answer = post(orjson.dumps([{**ROW, "status": 200}]))
    assert answer.status_code == 422
    told = answer.json()
    assert told["code"] == "rows"
    assert told["reasons"][0]["rows"] == 1


@pytest.mark.parametrize("body", [b"[]", b'{"requests": []}'])
def test_no_rows_are_no_problem(post, body):
    """A sender with nothing to say."""
    assert post(body).json()["rows"] == 0


TIMES = {
    "2026-01-31T12:00:00+01:00": datetime(2026, 1, 31, 11),
    "2026-01-31T11:00:00": datetime(2026, 1, 31, 11),
    1769857200: datetime(2026, 1, 31, 11),
    1769857200.5: datetime(2026, 1, 31, 11, 0, 0, 500_000),
}


@pytest.mark.parametrize("told", TIMES)
def test_times_are_read(filled, post, told):
    """ISO 8601 with and without a zone, and seconds since 1970."""
    assert post(orjson.dumps([{**ROW, "arrived_at": told}])).json()["added"] == 1
    assert live(filled)[0]["arrived_at"] == TIMES[told]


@pytest.mark.parametrize(
    "told",
    [1769857200000, -1, 0, "yesterday", "2026-01-31T14:00:00Z", "0001-01-01T00:00:00+23:00",
     "9999-12-31T23:59:59-23:00", True, [], 1e300],
)  # fmt: skip
def test_times_that_cannot_be_are_refused(post, told):
    """Milliseconds, the future, the distant past, no time at all."""
    assert post(orjson.dumps([{**ROW, "arrived_at": told}])).status_code == 422


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "+05:30"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_arrow_times_of_any_resolution_and_zone(filled, post, zone, unit):
    """They count from 1970 in UTC, whatever they are shown in."""
    at = pa.array([1769857200], pa.timestamp("s")).cast(pa.timestamp(unit))
    table = pa.table({"arrived_at": at.cast(pa.int64()).cast(pa.timestamp(unit, zone)),
                      "status": ["ok"]})  # fmt: skip
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    assert post(sink.getvalue(), ARROW).json()["added"] == 1
    assert live(filled)[0]["arrived_at"] == datetime(2026, 1, 31, 11)


def test_frames_of_polars_are_taken(filled, post):
    """What `write_ipc_stream` and `write_parquet` make of a frame, dictionaries included."""
    frame = pl.DataFrame([ROW]).with_columns(
        pl.col("arrived_at").str.to_datetime(time_zone="UTC"), pl.col("model").cast(pl.Categorical)
    )
    for form, write in ((ARROW, frame.write_ipc_stream), (PARQUET, frame.write_parquet)):
        sink = io.BytesIO()
        write(sink, **({"compat_level": pl.CompatLevel.oldest()} if form == ARROW else {}))
        answer = post(sink.getvalue(), form)
        assert answer.status_code == 200, answer.text
    assert len(live(filled)) == 1


def test_a_packed_body_is_unpacked(filled, post):
    """gzip as Content-Encoding."""
    packed = gzip.compress(orjson.dumps([ROW]))
    assert post(packed, **{"Content-Encoding": "gzip"}).json()["added"] == 1


REFUSED = {
    "another type": (b"a,b", "text/csv", 415, "rows come as"),
    "no JSON": (b"{", JSON, 400, "not JSON"),
    "another document": (b'{"rows": 1}', JSON, 400, "list of rows"),
    "no Arrow": (b"x" * 100, ARROW, 400, "Arrow"),
    "no Parquet": (b"PAR1xxxx", PARQUET, 400, "Parquet"),
    "an unknown column": (arrow([{"arrived": 1}]), ARROW, 400, "no field 'arrived'"),
    "a nested column": (parquet([{"status": ["ok"]}]), PARQUET, 400, "of type"),
    "packed batches": (arrow([ROW], compression="zstd"), ARROW, 400, "compressed"),
    "too many rows": (b"[" + b"{}," * 100_001 + b"{}]", JSON, 413, "more than 100,000 rows"),
    "a bomb": (gzip.compress(b" " * (40 << 20)), JSON, 413, "larger"),
    "a long text": (parquet([{**ROW, "model": "m" * 5_000}]), PARQUET, 413, "longer"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_body_that_cannot_be_taken_says_why(post, case):
    """One line, a status that tells senders what to do."""
    body, form, status, why = REFUSED[case]
    headers = {"Content-Encoding": "gzip"} if case == "a bomb" else {}
    answer = post(body, form, **headers)
    assert answer.status_code == status
    assert why in answer.json()["detail"]


def test_a_column_of_nothing_cannot_fill_the_memory(post):
    """A column of type null may claim any number of rows without a byte."""
    batch = pa.record_batch({"status": pa.nulls(2_000_000)})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    assert post(sink.getvalue(), ARROW).status_code == 413


@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.binary(max_size=300), st.sampled_from(sorted(FORMS)), st.integers(0, 400))
def test_no_bytes_are_a_fault_of_ours(post, noise, form, place):
    """Noise, and sound bodies with noise in the middle."""
    assert post(noise, form).status_code in (200, 400, 413, 422)
    sound = ENCODERS.get(form, ENCODERS[LINES])([ROW])
    place %= len(sound)
    broken = sound[:place] + noise + sound[place + len(noise) :]
    assert post(broken, form).status_code in (200, 400, 413, 422)


@settings(max_examples=100, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(
    st.dictionaries(
        st.sampled_from([*FIELDS, "other"]),
        st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.text(max_size=5),
                  st.floats(), st.lists(st.none(), max_size=1),
                  st.datetimes(timezones=st.just(UTC)).map(str)),
    )
)  # fmt: skip
def test_any_row_is_stored_or_refused(post, row):
    """Never both, never neither."""
    told = post(orjson.dumps([{**ROW, **row}])).json()
    assert told["rows" if "rows" in told else "rejected"] == 1
    assert told["added"] + told["duplicate"] + told["rejected"] == 1


def test_a_full_disk_asks_the_sender_to_come_again(tmp_path, clock):
    """What could not be kept now is not the sender's fault, and not lost when it comes again."""
    environment = {
        "XDG_CONFIG_HOME": str(tmp_path),
        "SERVESCOPE_STORE__DISK_RESERVE_BYTES": str(1 << 62),
    }
    config = load(None, {}, environment)
    with Database.open(tmp_path / "full.duckdb", config.store, clock) as database:
        runtime = Runtime(config, database, clock, SloBook(None, clock), "http://127.0.0.1:8787")
        with TestClient(create_app(runtime), base_url="http://127.0.0.1:8787") as client:
            answer = client.post(PATH, json=[ROW])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["code"] == "store_full"
