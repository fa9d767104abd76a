"""What leaves the store comes back: exports are read again without a loss or a double row."""

import io
import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from collector.traces.plan import plan
from store import bulk, export
from store.clock import WallClock
from store.database import Database
from store.errors import InputError
from store.export_change import Change
from store.queries.scope import Scope
from store.settings import StoreSettings

START = datetime(2026, 1, 1, 9, 30, tzinfo=UTC)
ALL = """SELECT * EXCLUDE (source_id, import_id) FROM requests ORDER BY source, request_key"""


def rows(n=500):
    return pl.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(n)],
            "arrived_at": [
                START.replace(tzinfo=None) + timedelta(minutes=7 * i, microseconds=i * 101)
                for i in range(n)
            ],
            "status": [("ok", "failed", "refused", "aborted")[i % 4] for i in range(n)],
            "tenant": [("x", None)[i % 2] for i in range(n)],
            "model": ['a,"b"', "=c"] * (n // 2),
            "session_id": [f"s{i % 40}" if i % 3 else None for i in range(n)],
            "input_tokens": list(range(n)),
            "output_tokens": [i % 50 if i % 7 else None for i in range(n)],
            "ttft_seconds": [i / 7 if i % 5 else None for i in range(n)],
            "e2e_seconds": [i / 3 for i in range(n)],
            "trace_id": [f"{i:032x}" for i in range(n)],
            "admission_reason": ["queue_full" if i % 4 == 2 else None for i in range(n)],
            "attempt": [1 + i % 2 if i % 3 else None for i in range(n)],
            "is_counted": [bool(i % 2) if i % 3 else None for i in range(n)],
            "tenant_weight": [0.5 if i % 3 else None for i in range(n)],
            "policy_version": [7 if i % 3 else None for i in range(n)],
            "itl_p99_seconds": [i / 900 if i % 3 else None for i in range(n)],
            "retry_after_seconds": [1.25 if i % 4 == 2 else None for i in range(n)],
        }
    )


@pytest.fixture(scope="module")
def database():
    with Database.open(None, StoreSettings(), WallClock()) as opened:
        opened.writer.append("request", rows()).result()
        opened.writer.run(
            lambda con: con.execute(
                """INSERT INTO source VALUES (2, 'trace', 'trace', 'mooncake', 'relative', 0.001,
                NULL, 512, 'Apache-2.0', '{"a": 1}', TIMESTAMP '2026-01-01');
                INSERT INTO request (request_key, source_id, arrived_at, status, labels_id,
                  input_tokens, output_tokens)
                SELECT range, 2, TIMESTAMP '1970-01-01' + to_milliseconds(range * 3000),
                  'ok', 0, 1000, 10 FROM range(50);
                INSERT INTO request_prefix
                SELECT 2, request_key, arrived_at, [request_key, 18446744073709551615]
                FROM request AS r WHERE r.source_id = 2"""
            )
        ).result()
        yield opened


def scope(source_id=1, **labels):
    if source_id == 2:
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        return Scope((2,), epoch, epoch + timedelta(days=1))
    return Scope((1,), START, START + timedelta(days=9), **labels)


def load(database, files, **options):
    return [bulk.load(database.writer, each) for each in plan(files, **options)]


def test_everything_comes_back(database, tmp_path, monkeypatch):
    """All sources, labels, sessions, identifiers and hashes survive the way out and in, twice."""
    monkeypatch.setattr(export, "PORTION_ROWS", 60)
    file = tmp_path / "all.parquet"
    export.write_file(export.stream(database, None, "parquet"), file)
    with Database.open(None, StoreSettings(), WallClock(), allow_files=True) as other:
        reports = load(other, [file])
        assert sorted(r.rows_added for r in reports) == [50, 500]
        assert_frame_equal(other.reader.frame(ALL), database.reader.frame(ALL))
        for sql in (
            "SELECT request_key, arrived_at, block_hashes FROM request_prefix ORDER BY ALL",
            "SELECT name, kind, clock, prefix_block_tokens FROM source ORDER BY name",
        ):
            assert_frame_equal(other.reader.frame(sql), database.reader.frame(sql))
        assert sum(r.rows_added for r in load(other, [file])) == 0


def test_parquet_is_in_order_and_says_what_it_is(database, tmp_path, monkeypatch):
    """Portions come in order of arrival; the metadata names clock and licence of each source."""
    monkeypatch.setattr(export, "PORTION_ROWS", 30)
    parts = list(export.stream(database, scope(), "parquet"))
    assert len(parts) > 5
    table = pq.read_table(io.BytesIO(b"".join(parts)))
    arrived = table["arrived_at"].to_pylist()
    assert len(arrived) == 500
    assert arrived == sorted(arrived)
    sources = json.loads(table.schema.metadata[export.SOURCES_KEY.encode()])
    assert sources["trace"]["clock"] == "relative"
    assert sources["trace"]["licence"] == "Apache-2.0"


def test_a_scope_is_respected(database):
    """Labels and range choose the rows."""
    content = b"".join(export.stream(database, scope(tenants=("x",)), "parquet"))
    assert pl.read_parquet(io.BytesIO(content))["tenant"].to_list() == ["x"] * 250


def test_nothing_gives_a_readable_file(database):
    """An empty scope gives a file with columns and no rows, in each format."""
    nothing = scope(models=("none",))
    content = b"".join(export.stream(database, nothing, "parquet"))
    assert pl.read_parquet(io.BytesIO(content)).height == 0
    assert b"".join(export.stream(database, nothing, "azure")).count(b"\n") == 1
    assert b"".join(export.stream(database, nothing, "mooncake")) == b""


@pytest.mark.parametrize(
    ("form", "name", "source_id"),
    [("azure", "a_conv.csv", 1), ("burstgpt", "b.csv", 1), ("mooncake", "m.jsonl", 2)],
)
def test_public_formats_are_read_by_our_importers(database, tmp_path, form, name, source_id):
    """What a format can hold comes back: lengths, spacing, failures, hashes."""
    file = tmp_path / name
    export.write_file(export.stream(database, scope(source_id), form), file)
    with Database.open(None, StoreSettings(), WallClock(), allow_files=True) as other:
        (report,) = load(other, [file])
        assert report.format == form
        sql = """SELECT epoch_us(arrived_at) - min(epoch_us(arrived_at)) OVER () AS offset_us,
          input_tokens FROM request WHERE source_id = $source_id ORDER BY ALL"""
        ours = database.reader.frame(sql, source_id=source_id)
        theirs = other.reader.frame(sql, source_id=2)
        # Seconds as a floating-point number keep microseconds only to rounding.
        assert_frame_equal(ours, theirs, abs_tol=2)


def test_failures_survive_burstgpt(database, tmp_path):
    """A request that failed has no response tokens there, and is a failure again after import."""
    file = tmp_path / "b.csv"
    export.write_file(export.stream(database, scope(), "burstgpt"), file)
    with Database.open(None, StoreSettings(), WallClock(), allow_files=True) as other:
        load(other, [file])
        sql = "SELECT input_tokens FROM request WHERE source_id = $id AND {} ORDER BY 1"
        failed = "status <> 'ok' OR output_tokens = 0"
        ours = database.reader.frame(sql.format(f"({failed})"), id=1)
        assert_frame_equal(other.reader.frame(sql.format("status = 'failed'"), id=2), ours)


def test_a_whole_store_is_a_folder(database, tmp_path):
    """Every table is a file; the folder appears when it is complete, and is never overwritten."""
    folder = tmp_path / "out"
    sizes = export.export_store(database, folder)
    assert set(sizes) >= {"request", "sample", "series", "target", "client_rate", "rollup_gauge"}
    assert pl.read_parquet(folder / "request.parquet").height == 550
    assert [file.name for file in tmp_path.iterdir()] == ["out"]
    with pytest.raises(InputError, match="exists"):
        export.export_store(database, folder)


def test_a_failed_export_leaves_nothing(database, tmp_path):
    """An error half-way leaves no file behind."""

    def broken():
        yield b"half"
        raise ValueError("gone")

    with pytest.raises(ValueError, match="gone"):
        export.write_file(broken(), tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="cannot be written"):
        export.write_file([b"x"], tmp_path / "no" / "x")


def test_an_abandoned_download_gives_its_slot_back(database):
    """A client that goes away in the middle does not block later exports."""
    for _ in range(5):
        next(iter(export.stream(database, scope(), "mooncake")))
    assert database.export_reader.stats()["queries_running"] == 0


def test_unknown_formats_are_named_at_once(database):
    """The mistake is told before the first byte."""
    with pytest.raises(InputError, match="xml"):
        export.stream(database, scope(), "xml")


def changed_text(database, form, **change):
    return b"".join(export.stream(database, scope(), form, Change(**change))).decode()


@pytest.mark.parametrize("form", ["azure", "burstgpt", "mooncake"])
def test_a_changed_export_says_so_and_is_read_again(database, tmp_path, form):
    """The transform stands at the beginning of the file, and no reader stumbles over it."""
    text = changed_text(database, form, keep=0.5, speed=2.0)
    words = "changed by servescope: kept 0.5 of the sessions, chosen by hash; arrivals 2 times"
    assert words in text.split("\n", 1)[0]
    file = tmp_path / f"changed.{'jsonl' if form == 'mooncake' else 'csv'}"
    file.write_text(text)
    comments = 0 if form == "mooncake" else 1
    rows = len(text.splitlines()) - 2 * comments
    with Database.open(None, StoreSettings(), WallClock(), allow_files=True) as other:
        (report,) = load(other, [file])
        assert report.rows_read == rows
        assert report.rows_rejected <= rows - report.rows_added


def test_sessions_are_kept_whole_and_arrivals_come_faster(database):
    """Half of the sessions is not half of each; the same share keeps the same requests."""
    whole = pl.read_csv(io.StringIO(changed_text(database, "burstgpt", speed=2.0)),
                        comment_prefix="#")  # fmt: skip
    plain = pl.read_csv(io.BytesIO(b"".join(export.stream(database, scope(), "burstgpt"))))
    began = START.hour * 3600 + START.minute * 60
    assert (whole["Timestamp"] - began).to_list() == pytest.approx(
        ((plain["Timestamp"] - began) / 2).to_list(), abs=1e-5
    )
    assert whole["Request tokens"].to_list() == plain["Request tokens"].to_list()
    text = changed_text(database, "burstgpt", keep=0.5)
    assert text == changed_text(database, "burstgpt", keep=0.5)
    thin = pl.read_csv(io.StringIO(text), comment_prefix="#")
    assert 0 < thin.height < plain.height
    sizes = dict(plain.drop_nulls("Session ID").group_by("Session ID").len().iter_rows())
    kept = thin.drop_nulls("Session ID").group_by("Session ID").len()
    assert all(sizes[name] == count for name, count in kept.iter_rows())


def test_what_cannot_be_changed_is_refused_at_once(database):
    """Parquet tells what was recorded; a share above one is no share."""
    with pytest.raises(InputError, match="what was recorded"):
        export.stream(database, scope(), "parquet", Change(keep=0.5))
    for wrong in ({"keep": 0.0}, {"keep": 1.5}, {"speed": 0.0}):
        with pytest.raises(InputError):
            Change(**wrong)
