"""Each public trace format, from its file into the store."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from collector.traces.plan import plan
from store.bulk import load
from store.clock import WallClock
from store.database import Database, incoming_folder
from store.errors import InputError
from store.export import stream, write_file
from store.settings import StoreSettings

TRACES = Path(__file__).parents[1] / "data" / "traces"


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(), WallClock(), allow_files=True) as opened:
        yield opened


def imported(database, *files, **options):
    """Reports of importing these files of the trace folder (or with an absolute path)."""
    loads = plan([TRACES / file for file in files], **options)
    return [load(database.writer, spec) for spec in loads]


def rows(database, *columns, source=None):
    condition = f"WHERE source = '{source}'" if source else ""
    return database.reader.frame(
        f"SELECT {', '.join(columns)} FROM requests {condition} ORDER BY arrived_at, request_key"
    )


def test_azure(database):
    """Stamps keep their microseconds, the route is the service, and the report says the units."""
    (report,) = imported(database, "AzureLLMInferenceTrace_conv.csv")

    first = rows(database, "arrived_at", "route", "status::VARCHAR", "input_tokens",
                 "output_tokens", "tenant", "model").row(0)  # fmt: skip
    at = datetime.fromisoformat("2023-11-16T18:15:46.680590")
    assert first == (at, "conv", "ok", 374, 44, None, None)
    assert (report.rows_read, report.rows_added, report.rows_rejected) == (300, 300, 0)
    text = "\n".join(report.sentences())
    assert "UTC" in text
    assert "tokens" in text
    assert "100 ns" in text


def test_burstgpt(database):
    """Failures stay, equal rows are two requests, and the clock is a wall clock without a date."""
    (report,) = imported(database, "BurstGPT_invented.csv")

    found = rows(database, "epoch(arrived_at) AS at", "model", "route", "status::VARCHAR AS status",
                 "output_tokens")  # fmt: skip
    assert found["at"].to_list() == [5, 45, 45, 118, 185, 203.5]
    assert found.filter(pl.col("status") == "failed").rows() == [
        (185.0, "ChatGPT", "API log", "failed", 0)
    ]
    assert report.clock == "local_unknown"


def test_burstgpt_with_sessions(database):
    """The newer columns give the session and the whole duration."""
    imported(database, "BurstGPT_sessions_invented.csv")

    found = rows(database, "session_id", "e2e_seconds", "status::VARCHAR")
    assert found.rows() == [
        ("a1", 2.5, "ok"),
        ("a1", 1.25, "ok"),
        (None, 0.5, "ok"),
        ("b7", 0.1, "failed"),
    ]


def test_mooncake(database):
    """Milliseconds from the start, block hashes, and the lumps of its clock are found."""
    (report,) = imported(database, "conversation_trace.jsonl")

    prefixes = database.reader.frame(
        "SELECT arrived_at, block_hashes FROM request_prefix ORDER BY arrived_at, block_hashes"
    )
    assert prefixes.height == 150
    assert prefixes["block_hashes"][0].to_list() == list(range(14))
    assert report.clock == "relative"
    assert report.clock_resolution_seconds == pytest.approx(3.0, rel=0.01)
    assert any("quantised" in line for line in report.sentences())
    stored = database.reader.frame(
        "SELECT prefix_block_tokens, clock_resolution_seconds FROM source WHERE kind = 'trace'"
    ).row(0)
    assert stored == (512, report.clock_resolution_seconds)


def test_vtc(database):
    """One JSON line becomes its responses; the adapter is the tenant."""
    (report,) = imported(database, "FCFS/all_results_overload.jsonl")

    assert report.rows_added == 60
    found = rows(database, "tenant", "ttft_seconds", "e2e_seconds", "tpot_seconds",
                 "output_tokens").row(0, named=True)  # fmt: skip
    assert found["tenant"].startswith("dummy-lora-7b-rank-8-")
    gap = (found["e2e_seconds"] - found["ttft_seconds"]) / (found["output_tokens"] - 1)
    assert found["tpot_seconds"] == pytest.approx(gap)


def test_vtc_refused_requests(database, tmp_path):
    """A negative first-token latency is a refusal, without latencies or output."""
    file = tmp_path / "run.jsonl"
    response = (
        '{"adapter_dir": "%s", "prompt_len": 8, "output_len": 4, "request_latency": %s, '
        '"first_token_latency": %s, "req_time": 1.0}'
    )
    lines = ", ".join((response % ("a", 2, 1), response % ("b", -1, -1)))
    file.write_text('{"config": {}, "result": {"responses": [' + lines + "]}}\n")

    imported(database, file)

    found = database.reader.frame(
        "SELECT tenant, status::VARCHAR, ttft_seconds, e2e_seconds, output_tokens FROM requests "
        "ORDER BY tenant"
    )
    assert found.rows() == [("a", "ok", 1.0, 2.0, 4), ("b", "refused", None, None, None)]


def test_vtc_of_usual_size(database, tmp_path):
    """A run is one line of any length: it is recognised by how it begins."""
    file = tmp_path / "run.jsonl"
    one = (
        '{"adapter_dir": "a", "prompt_len": 8, "output_len": 4, "request_latency": 2.0, '
        '"first_token_latency": 1.0, "req_time": %d}'
    )
    responses = ", ".join(one % at for at in range(1_000))
    file.write_text('{"config": {}, "result": {"total_time": 3, "responses": [' + responses + "]}}")

    (report,) = imported(database, file)

    assert report.rows_added == 1_000


def test_vtc_cut_short(database, tmp_path):
    """A run whose line is not whole is refused instead of vanishing."""
    file = tmp_path / "run.jsonl"
    file.write_text((TRACES / "FCFS/all_results_overload.jsonl").read_text()[:-200])

    with pytest.raises(InputError, match="no whole JSON record"):
        imported(database, file)


def test_servegen(database):
    """Client files become rates per window; without arrivals the variation is unknown."""
    files = sorted((TRACES / "m-small").glob("*.csv"))

    (report,) = imported(database, *files)

    assert (report.rows_added, report.source) == (72, "servegen-m-small")
    found = database.reader.frame(
        "SELECT client, window_seconds, rate_per_second, interarrival_cv, family FROM client_rate "
        "ORDER BY client, window_start_at"
    )
    assert found["client"].unique().sort().to_list() == ["0", "1", "10"]
    assert found["window_seconds"].unique().to_list() == [600.0]
    assert found.filter(client="0", family="gamma")["rate_per_second"][0] == pytest.approx(
        11.326666666666666
    )
    assert found.filter(rate_per_second=0.0)["interarrival_cv"].null_count() > 0
    (again,) = imported(database, *files)
    assert (again.rows_added, again.rows_duplicate) == (0, 72)


MAPPED = {
    "csv": "when;in;out;ms;who;how\n1700000000.5;5;6;120;a;200\n1700000001;7;;;b;429\n",
    "jsonl": '{"when": 1700000000.5, "in": 5, "out": 6, "ms": 120, "who": "a", "how": 200}\n'
    '{"when": 1700000001, "in": 7, "out": null, "who": "b", "how": 429}\n',
}


@pytest.mark.parametrize("ending", [*MAPPED, "parquet"])
def test_any_columns_with_a_map(database, tmp_path, ending):
    """CSV, JSONL and Parquet give the same rows under the same map."""
    file = tmp_path / f"mine.{ending}"
    if ending == "parquet":
        pl.DataFrame(
            {"when": [1700000000.5, 1700000001.0], "in": [5, 7], "out": [6, None],
             "ms": [120, None], "who": ["a", "b"], "how": [200, 429]}
        ).write_parquet(file)  # fmt: skip
    else:
        file.write_text(MAPPED[ending])
    mapping = {"arrived_at": "when:s", "input_tokens": "in", "output_tokens": "out",
               "e2e_seconds": "ms:ms", "tenant": "who", "status": "how"}  # fmt: skip

    imported(database, file, mapping=mapping)

    found = rows(database, "epoch_ms(arrived_at)", "input_tokens", "output_tokens", "e2e_seconds",
                 "tenant", "status::VARCHAR")  # fmt: skip
    assert found.rows() == [
        (1700000000500, 5, 6, 0.12, "a", "ok"),
        (1700000001000, 7, None, None, "b", "refused"),
    ]


@pytest.mark.parametrize(
    ("unit", "number"), [("s", "1.5"), ("ms", "1500"), ("us", "1500000"), ("ns", "1500000000")]
)
def test_units_of_a_mapped_time(database, tmp_path, unit, number):
    """The same instant in any unit is the same time."""
    file = tmp_path / "t.csv"
    file.write_text(f"t,n\n{number},1\n")

    imported(database, file, mapping={"arrived_at": f"t:{unit}", "input_tokens": "n"})

    assert rows(database, "epoch(arrived_at)").item() == 1.5


def test_times_with_an_offset_become_utc(database, tmp_path):
    """02:00 at +02:00 is midnight."""
    file = tmp_path / "t.csv"
    file.write_text("t\n2024-05-10T02:00:00.25+02:00\n2024-05-10T00:00:01Z\n")

    imported(database, file, mapping={"arrived_at": "t:iso"})

    assert [str(at) for at in rows(database, "arrived_at")["arrived_at"]] == [
        "2024-05-10 00:00:00.250000",
        "2024-05-10 00:00:01",
    ]


@pytest.mark.parametrize(
    ("unit", "lines", "says"),
    [
        ("s", ["1700000000", "1700000001", "1700000002000", "1700000003"], "two units are mixed"),
        ("ms", ["1700000000", "1700000001000", "1700000002000"], "two units are mixed"),
        ("s", [*(str(i * 10) for i in range(1, 30)), "300000", "310000"], "seconds and milli"),
        ("s", ["0", "5", "2000000000"], "the times span 63 years"),
    ],
)
def test_mixed_units_are_refused(database, tmp_path, unit, lines, says):
    """Seconds and milliseconds in one column leave nothing behind."""
    file = tmp_path / "t.csv"
    file.write_text("t\n" + "\n".join(lines) + "\n")

    with pytest.raises(InputError, match=says):
        imported(database, file, mapping={"arrived_at": f"t:{unit}"}, source_name="mixed")

    assert database.reader.scalar("SELECT count(*) FROM request") == 0
    assert database.reader.scalar("SELECT count(*) FROM source WHERE name = 'mixed'") == 0


@pytest.mark.parametrize(
    "file",
    [
        "AzureLLMInferenceTrace_code.csv",
        "conversation_trace.jsonl",
        "FCFS/all_results_overload.jsonl",
        "BurstGPT_invented.csv",
        "BurstGPT_sessions_invented.csv",
    ],
)
def test_a_second_import_changes_nothing(database, file):
    """The same file again adds no row, no label, no session and no prefix, and says so."""
    imported(database, file)
    tables = ("request", "request_labels", "session", "request_prefix", "source")
    counts = [database.reader.scalar(f"SELECT count(*) FROM {table}") for table in tables]

    (report,) = imported(database, file)

    assert report.rows_added == 0
    assert "nothing changed" in "\n".join(report.sentences())
    assert counts == [database.reader.scalar(f"SELECT count(*) FROM {table}") for table in tables]


def test_our_own_export_arrives_as_it_left(database, tmp_path):
    """Rows, keys, labels, sessions, blocks and the clock survive; twice changes nothing."""
    files = ("conversation_trace.jsonl", "BurstGPT_sessions_invented.csv",
             "FCFS/all_results_overload.jsonl")  # fmt: skip
    for file in files:
        imported(database, file)
    folder = incoming_folder(tmp_path / "server.duckdb")
    folder.mkdir()
    file = folder / "upload.parquet"
    write_file(stream(database, None, "parquet"), file)
    question = (
        "SELECT * EXCLUDE (source_id, import_id) FROM requests ORDER BY source, request_key",
        "SELECT request_key, arrived_at, block_hashes FROM request_prefix ORDER BY ALL",
        "SELECT * EXCLUDE (source_id, created_at) FROM source ORDER BY name",
    )

    # A server may read its folder of uploads, nothing else.
    path = tmp_path / "server.duckdb"
    with Database.open(path, StoreSettings(), WallClock()) as server:
        first = [load(server.writer, spec) for spec in plan([file])]
        again = [load(server.writer, spec) for spec in plan([file])]
        for sql in question:
            assert server.reader.frame(sql).equals(database.reader.frame(sql))

    assert sum(report.rows_added for report in first) == 214
    assert [report.rows_added for report in again] == [0, 0, 0]


@pytest.mark.parametrize(
    "metadata",
    ["no json", "[]", '{"a": 5}', '{"a": {"clock": "mars", "prefix_block_tokens": "many"}}'],
)
def test_odd_metadata_of_an_export_is_not_trusted(database, tmp_path, metadata):
    """What a file says about its source is used only where it can be true."""
    file = tmp_path / "odd.parquet"
    frame = pl.DataFrame(
        {
            "source": ["a"],
            "arrived_at": [datetime.fromisoformat("2024-01-01")],
            "status": ["ok"],
            "request_key": pl.Series([7], dtype=pl.UInt64),
        }
    )
    frame.write_parquet(file, metadata={"servescope_sources": metadata})

    (report,) = imported(database, file)

    assert (report.clock, report.rows_added) == ("utc", 1)
