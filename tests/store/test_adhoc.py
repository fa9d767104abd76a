"""What ad-hoc SQL may and may not do."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import adhoc
from store.clock import WallClock
from store.database import Database, incoming_folder
from store.errors import InputError, QueryRefused, QueryTimeout, ServescopeError, StoreError
from store.settings import StoreSettings


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("adhoc") / "a.duckdb"
    incoming_folder(path).mkdir()
    (incoming_folder(path) / "upload.csv").write_text("a,b\n1,2\n")
    with Database.open(path, StoreSettings(), WallClock()) as opened:
        yield opened


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS a",
        "SELECT 1;",
        "-- a comment\nSELECT /* another */ 1 -- last",
        "WITH x AS (SELECT 1 AS a) SELECT * FROM x",
        "FROM request LIMIT 1",
        "EXPLAIN SELECT count(*) FROM requests",
        "EXPLAIN ANALYZE SELECT count(*) FROM requests",
        "DESCRIBE request",
        "SUMMARIZE request",
        "SHOW TABLES",
        "EXPLAIN (FORMAT json) SELECT 1",
        "EXPLAIN (SELECT 1)",
        "SELECT * FROM request JOIN request_labels USING (labels_id)",
        "SELECT count(*) FROM main.requests",
        "SELECT * FROM range(3)",
        "SELECT table_name FROM duckdb_tables()",
        "SELECT * FROM information_schema.tables",
        "SELECT 'read_csv(''x'')' AS text",
        'SELECT count(*) AS "read_csv" FROM request',
    ],
)
def test_reading_is_answered(database, sql):
    """One statement that only reads gets its rows."""
    assert not adhoc.query(database, sql).truncated


@pytest.mark.parametrize(
    "sql",
    [
        "COPY request TO '{folder}/out.csv'",
        "COPY (SELECT 1) TO '{store}.wal'",
        "ATTACH '{folder}/other.duckdb'",
        "INSTALL httpfs",
        "LOAD json",
        "EXPORT DATABASE '{folder}/out'",
        "IMPORT DATABASE '{folder}/out'",
        "PRAGMA database_list",
        "/* x */ PRAGMA enable_profiling",
        "CALL pragma_version()",
        "SET threads = 1",
        "RESET threads",
        "SET VARIABLE a = 1",
        "USE memory",
        "CHECKPOINT",
        "VACUUM",
        "BEGIN",
        "PREPARE a AS SELECT 1",
        "INSERT INTO request_labels (labels_id) VALUES (9)",
        "DELETE FROM request_labels RETURNING *",
        "UPDATE request_labels SET tenant = 'x'",
        "DROP TABLE request",
        "CREATE TEMP TABLE a AS SELECT 1",
        "CREATE TABLE a AS SELECT 1",
        "SELECT 1; DROP TABLE request",
        "SELECT 1; SELECT 2",
        "",
        "-- only a comment",
        "SELEKT 1",
        "SELECT $a",
        "SELECT * FROM read_csv('{incoming}/upload.csv')",
        "SELECT * FROM read_text('{incoming}/upload.csv')",
        "SELECT * FROM main.read_text/* x */\n('{incoming}/upload.csv')",
        "SELECT * FROM \"ReAd_TexT\" -- x\n ('{incoming}/upload.csv')",
        "SELECT * FROM '{incoming}/upload.csv'",
        'SELECT * FROM "{incoming}/upload.csv"',
        "SELECT (SELECT max(a) FROM '{incoming}/upload.csv')",
        "EXPLAIN SELECT * FROM '{incoming}/upload.csv'",
        "DESCRIBE '{incoming}/upload.csv'",
        "SUMMARIZE '{incoming}/upload.csv'",
        "SELECT * FROM glob('{incoming}/*')",
        "SELECT * FROM sniff_csv('{incoming}/upload.csv')",
        "SELECT * FROM read_blob('{store}')",
        "SELECT * FROM query('SELECT * FROM read_csv(''{incoming}/upload.csv'')')",
        "SELECT * FROM query_table('request')",
        "SELECT * FROM pandas_scan(1)",
        "SELECT * FROM arrow_scan(1, 2, 3)",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM force_checkpoint()",
        "SELECT * FROM json_execute_serialized_sql('x')",
        "SELECT * FROM upload.csv",
        'WITH "a.csv" AS (SELECT 1) SELECT * FROM "a.csv"',
        "PIVOT request ON status",
    ],
)
def test_everything_else_is_refused(database, sql):
    """Writing, files, settings, several statements: each is refused with one clear line."""
    text = (
        sql.replace("{folder}", str(database.path.parent))
        .replace("{store}", str(database.path))
        .replace("{incoming}", str(incoming_folder(database.path)))
    )
    with pytest.raises(QueryRefused) as refused:
        adhoc.query(database, text)
    assert "\n" not in str(refused.value)


def test_the_environment_cannot_be_read(database):
    """There is no way to an environment variable."""
    with pytest.raises(InputError, match="getenv"):
        adhoc.query(database, "SELECT getenv('HOME')")


def test_a_write_inside_explain_is_refused(database):
    """EXPLAIN ANALYZE runs what it explains, so it may explain only a SELECT."""
    for start in ("EXPLAIN ANALYZE", "EXPLAIN (ANALYZE)", "EXPLAIN /* x */ ANALYZE -- y\n"):
        with pytest.raises(QueryRefused):
            adhoc.query(database, f"{start} DELETE FROM request_labels")
    assert adhoc.query(database, "SELECT count(*) FROM request_labels").frame.item() == 1


def test_rows_are_capped_and_said_to_be(database):
    """More rows than the cap are left out, and the answer says so; endless ones do not hang."""
    result = adhoc.query(database, "SELECT * FROM range(100000000000)", row_cap=5)
    assert result.frame.height == 5
    assert result.truncated
    assert "first 5 rows" in result.truncated_why
    assert not adhoc.query(database, "SELECT * FROM range(5)", row_cap=5).truncated


def test_bytes_are_capped(database, monkeypatch):
    """A few rows of enormous text stop early, too."""
    monkeypatch.setattr(adhoc, "RESULT_LIMIT_BYTES", 1 << 20)
    sql = "SELECT repeat('x', 1000) AS text FROM range(9000)"
    result = adhoc.query(database, sql)
    assert result.truncated
    assert "MiB" in result.truncated_why


def test_a_long_query_is_stopped_and_the_next_one_works(database):
    """The time limit interrupts, and leaves a usable cursor."""
    sql = "SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b"
    with pytest.raises(QueryTimeout):
        adhoc.query(database, sql, limit_seconds=0.2)
    assert adhoc.query(database, "SELECT 1 AS a").frame.item() == 1


def test_intervals_are_refused_with_the_way_round(database):
    """A type that frames cannot hold is named, with what to write instead."""
    with pytest.raises(QueryRefused, match="epoch"):
        adhoc.query(database, "SELECT INTERVAL 1 MONTH AS gap")


def test_python_variables_are_not_tables(database):
    """A name in SQL never reaches a variable of the process."""
    import polars as pl

    hidden = pl.DataFrame({"a": [1]})
    with pytest.raises(InputError, match="does not exist"):
        adhoc.query(database, "SELECT * FROM hidden")
    with pytest.raises(StoreError, match="does not exist"):
        database.reader.frame("SELECT * FROM hidden")
    assert hidden.height == 1


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_answered_or_refused(database, text):
    """Whatever is typed gets rows or one of our errors."""
    with contextlib.suppress(ServescopeError):
        adhoc.query(database, text)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'infinity'::TIMESTAMP AS far",
        "SELECT '-infinity'::DATE AS far",
        "SELECT DATE '290309-12-22' AS far",
        "SELECT [DATE '290309-12-22'] AS far",
        "SELECT {a: 'infinity'::TIMESTAMPTZ} AS far",
    ],
)
def test_dates_that_no_reader_can_write_are_refused(database, sql):
    """Infinity and the year 290309 have no form in JSON or Python."""
    with pytest.raises(QueryRefused, match="'far' holds infinity") as refusal:
        adhoc.query(database, sql)
    assert "VARCHAR" in refusal.value.hint


def test_dates_at_the_edge_of_the_calendar_are_answered(database):
    """The first and the last day that can be written are not refused."""
    sql = "SELECT DATE '0001-01-01' AS a, TIMESTAMP '9999-12-31 23:59:59' AS b, NULL::DATE AS c"
    (row,) = adhoc.query(database, sql).frame.to_dicts()
    assert (row["a"].year, row["b"].year, row["c"]) == (1, 9999, None)


def test_columns_of_one_name_are_told_apart(database):
    """A join gives a name twice; the second gets a number."""
    sql = "SELECT 1 AS a, 2 AS a, 3 AS a_1"
    assert adhoc.query(database, sql).frame.to_dicts() == [{"a": 1, "a_1": 2, "a_1_1": 3}]


def test_half_a_character_is_refused(database):
    """JSON can carry a lone surrogate; no SQL is made of it."""
    with pytest.raises(QueryRefused, match="half a character"):
        adhoc.query(database, "SELECT '\ud800'")
