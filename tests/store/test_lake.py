"""Two servers over one lake: what one acknowledged is there once, for both."""

import dataclasses
import threading
from contextlib import ExitStack
from datetime import datetime

import polars as pl
import pytest

import store.lake
from servescope.cli.access import open_file
from servescope.config import load, masked
from store import adhoc, drops
from store.clock import WallClock
from store.database import Database
from store.diagnose import diagnose
from store.errors import ConfigError, InputError, QueryRefused, StoreError, StoreLocked
from store.lake_address import lake_address
from store.settings import StoreSettings
from store.targets import register

AT = datetime(2026, 1, 1)


def requests(numbers, hour=0):
    return pl.DataFrame(
        {
            "request_id": [f"r{number}" for number in numbers],
            "arrived_at": [AT.replace(hour=hour, second=number % 60) for number in numbers],
            "status": ["ok"] * len(numbers),
            "tenant": [f"t{number % 3}" for number in numbers],
            "session_id": [f"s{number % 5}" for number in numbers],
        }
    )


def count(server, hour, table="request"):
    """Rows of an hour."""
    column = "arrived_at" if table == "request" else "sampled_at"
    return server.reader.scalar(
        f"SELECT count(*) FROM {table} WHERE date_trunc('hour', {column}) = $at",
        at=AT.replace(hour=hour),
    )


def samples(numbers, second=0, hour=0):
    return pl.DataFrame(
        {
            "target_id": pl.Series([1] * len(numbers), dtype=pl.Int32),
            "signal": [f"g{hour}_{number}" for number in numbers],
            "kind": ["gauge"] * len(numbers),
            "unit": ["1"] * len(numbers),
            "labels": ["{}"] * len(numbers),
            "sampled_at": [AT.replace(hour=hour, second=second)] * len(numbers),
            "value": [1.0] * len(numbers),
        }
    )


@pytest.fixture(scope="module")
def settings(lakes):
    return lakes.settings(lakes.new())


@pytest.fixture(scope="module")
def servers(settings):
    """Two servers; tests tell their rows apart by the hour."""
    with (
        Database.open(None, settings, WallClock()) as one,
        Database.open(None, settings, WallClock()) as other,
    ):
        yield one, other


def test_rows_sent_to_both_are_kept_once(servers):
    """A resend may reach another server than the first copy did."""
    one, other = servers
    assert one.writer.append("request", requests(range(30))).result() == 30
    assert other.writer.append("request", requests(range(40))).result() == 10
    assert one.writer.append("sample", samples(range(20))).result() == 20
    assert other.writer.append("sample", samples(range(20))).result() == 0
    assert one.writer.append("sample", samples(range(20), second=1)).result() == 20
    assert one.writer.append("sample", samples(range(20))).result() == 0
    for server in servers:
        assert count(server, 0) == 40
        assert count(server, 0, "sample") == 40
        for table, keys in (
            ("request_labels", "tenant, model, route, instance, finish_reason"),
            ("session", "source_id, session_key"),
            ("series", "target_id, signal, labels"),
        ):
            twice = f"SELECT count(*) - count(DISTINCT ({keys})) FROM {table}"
            assert server.reader.scalar(twice) == 0


@pytest.mark.parametrize("turns", [True, False], ids=["in turn", "turns lost"])
def test_writers_at_once_lose_and_double_nothing(servers, monkeypatch, turns):
    """Even without turns, a commit upon an old state is refused and made again."""
    if not turns:
        monkeypatch.setattr(store.lake, "wait_for_turn", lambda *_: False)
        monkeypatch.setattr(store.lake, "TRIES", 100)
    added, hour = [], 2 + turns

    def send(server):
        batches = [
            server.writer.append("request", requests(range(n, n + 9), hour)) for n in range(8)
        ]
        added.append(sum(batch.result() for batch in batches))
        for number in range(4):
            drops.add(server.writer, [("door", f"{turns}", number, "")], WallClock().now()).result()

    threads = [threading.Thread(target=send, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(added) == count(servers[0], hour) == 16
    dropped = "SELECT sum(dropped_count)::BIGINT FROM ingest_drop WHERE reason = $reason"
    assert servers[1].reader.scalar(dropped, reason=f"{turns}") == 12


def test_numbers_are_given_once(servers):
    """What counts on from the highest number counts on from the lake's, not from its own."""
    ids = [
        register(server.writer, f"http://{name}", WallClock().now()).result()
        for name, server in zip("abca", (*servers, *servers), strict=True)
    ]
    assert len(set(ids)) == 3
    assert ids[3] == ids[0]


def test_a_server_that_keeps_its_turn_stops_nobody(servers, monkeypatch):
    """A stopped process or a host without network may hold the lock for hours."""
    monkeypatch.setattr(store.lake, "TURN_SECONDS", 0.05)
    one, other = servers
    entered, leave = threading.Event(), threading.Event()

    def stuck(connection):
        if not entered.is_set():
            connection.execute("INSERT INTO rollup_dirty VALUES (1, TIMESTAMP '2026-01-01')")
            entered.set()
            leave.wait(30)
        found = connection.execute(
            "SELECT count(*) FROM request WHERE date_trunc('hour', arrived_at) = $1",
            [AT.replace(hour=5)],
        )
        return found.fetchone()[0]

    job = one.writer.run(stuck)
    entered.wait(30)
    assert other.writer.append("request", requests(range(3), hour=5)).result() == 3
    leave.set()
    assert job.result() == 3  # its own try was refused; the second one saw what came between


def test_pages_learn_of_what_another_server_wrote(servers):
    """The version grows, by which views are kept."""
    one, other = servers
    before = other.writer.version(), other.writer.told_version()
    one.writer.append("request", requests(range(3), hour=6)).result()
    other.writer.flush()
    assert other.writer.version() > before[0]
    told = other.writer.told_version()
    other.writer.append("request", requests(range(3, 4), hour=6)).result()
    version = other.writer.version()
    other.writer.flush()
    assert other.writer.version() == version  # its own commit is no news
    register(one.writer, "http://pages", WallClock().now()).result()
    other.writer.flush()
    assert other.writer.told_version() > told


def test_series_that_another_server_forgot_are_looked_up_again(servers):
    """Else points would hang on a series that is not there."""
    one, other = servers
    other.writer.append("sample", samples(range(2), hour=7)).result()
    one.writer.run(lambda connection: connection.execute("DELETE FROM series")).result()
    other.writer.append("sample", samples(range(2), second=5, hour=7)).result()
    hanging = (
        "SELECT count(*) FROM sample ANTI JOIN series USING (series_id) WHERE hour(sampled_at) = 7"
    )
    hanging += " AND second(sampled_at) = 5"
    assert one.reader.scalar(hanging) == 0


def test_schema_is_that_of_a_file(servers):
    """The same columns in the same order; only the enum is text."""
    columns = """SELECT table_name, column_name, replace(data_type, $enum, 'VARCHAR') AS kind
    FROM duckdb_columns() WHERE database_name = current_database() AND NOT internal
    ORDER BY table_name, column_index"""
    enum = "ENUM('ok', 'failed', 'refused', 'aborted')"
    with Database.open(None, StoreSettings(), WallClock()) as plain:
        wanted = plain.reader.frame(columns, enum=enum)
    assert servers[0].reader.frame(columns, enum=enum).equals(wanted)


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT * FROM __ducklake_metadata_lake."{schema}".ducklake_snapshot',
        "SELECT * FROM postgres_query('__ducklake_metadata_lake', 'SELECT 1')",
        "SELECT * FROM read_parquet('{data}**')",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM ducklake_snapshots('lake')",
        "COPY (SELECT 1) TO '{data}evil.parquet'",
        "DELETE FROM request",
    ],
)
def test_adhoc_reaches_neither_catalogue_nor_files(servers, sql):
    """Ad-hoc SQL reads the tables, and nothing else of the lake."""
    address = servers[0].lake.address
    text = sql.format(schema=address.schema, data=address.data)
    with pytest.raises((QueryRefused, InputError)):
        adhoc.query(servers[0], text)
    assert adhoc.query(servers[0], "SELECT count(*) FROM source").frame.item() == 1


def test_two_servers_on_a_host_need_places_of_their_own(settings, tmp_path):
    """Uploads and models of two servers in one folder would be mixed."""
    with (
        Database.open(tmp_path / "a.duckdb", settings, WallClock()),
        pytest.raises(StoreLocked, match="--store of its own"),
    ):
        Database.open(tmp_path / "a.duckdb", settings, WallClock())
    with Database.open(tmp_path / "a.duckdb", settings, WallClock()) as again:
        assert again.size_bytes() is not None


def test_postgres_that_comes_back_is_used_again(servers, lakes):
    """Rows that were refused meanwhile can be sent again; nothing has to be restarted."""
    one, other = servers
    lakes.postgres.stop()
    try:
        with pytest.raises(StoreError):
            one.writer.append("request", requests(range(3), hour=9)).result()
        with pytest.raises(StoreError):
            one.reader.scalar("SELECT count(*) FROM request")
    finally:
        lakes.postgres.start()
    for server in servers:
        for _ in range(8):  # connections that were open find out one by one
            try:
                server.writer.append("request", requests(range(3), hour=9)).result()
                server.reader.scalar("SELECT count(*) FROM request")
            except StoreError:
                continue
    assert count(other, 9) == 3


def test_doctor_says_what_is_missing(lakes, settings, tmp_path, monkeypatch):
    """Each part of a lake has a line and a way to mend it."""

    def found(chosen):
        lines = diagnose(tmp_path / "a.duckdb", chosen)
        return {line.subject: (line.level, line.text, line.fix) for line in lines}

    assert found(settings)["schema"][0] == found(settings)["lake"][0] == "ok"
    elsewhere = "postgresql://postgres@127.0.0.1:1/lake"
    away = found(dataclasses.replace(settings, lake=elsewhere))["lake"]
    assert away[0] == "fail"
    assert "PostgreSQL" in away[1]
    assert "running" in away[2]
    new = found(dataclasses.replace(settings, lake=f"{settings.lake}?schema=other"))["lake"]
    assert new[0] == "note"
    moved = found(dataclasses.replace(settings, lake_data=str(tmp_path / "elsewhere")))["lake"]
    assert moved[0] == "fail"
    assert "lake_data" in moved[2]
    monkeypatch.setattr("store.lake_diagnose.extension_file", lambda _: None)
    assert "servescope[lake]" in found(settings)["extensions"][2]


def test_a_password_is_nowhere_to_be_read():
    """Neither in settings as shown, nor in words about the lake."""
    url = "postgresql://me:geheim@db.example:5433/fleet"
    chosen = StoreSettings(lake=url, lake_data="s3://bucket/lake")
    address = lake_address(
        chosen.lake, chosen.lake_data, {"AWS_SECRET_ACCESS_KEY": "schluessel", "PGPASSWORD": "x"}
    )
    assert address.login["PASSWORD"] == "geheim"
    for shown in (repr(chosen), repr(address), address.text, masked("lake", url)):
        assert "geheim" not in shown
        assert "schluessel" not in shown
    assert "db.example" in address.text


@pytest.mark.parametrize(
    ("catalog", "data"),
    [
        ("postgresql://db/fleet", ""),
        ("mysql://db/fleet", "/data"),
        ("postgresql://db", "/data"),
        ("postgresql://db:port/fleet", "/data"),
        ("postgresql://db/fleet?sslmode=require", "/data"),
    ],
)
def test_a_lake_that_cannot_be_is_refused(catalog, data):
    """Before anything is opened, naming the setting."""
    with pytest.raises(ConfigError) as told:
        lake_address(catalog, data, {})
    assert told.value.where in ("store.lake", "store.lake_data")
    assert told.value.hint


def test_a_missing_extension_is_named(monkeypatch, tmp_path):
    """Without the extra nothing else is tried."""
    monkeypatch.setattr("store.lake_attach.extension_file", lambda _: None)
    chosen = StoreSettings(lake="postgresql://db/fleet", lake_data=str(tmp_path))
    with pytest.raises(StoreError, match=r"servescope\[lake\]"):
        Database.open(None, chosen, WallClock())


def test_a_scratch_store_is_no_lake(tmp_path):
    """A file that a command reads for itself must not come among everybody's rows."""
    settings = {"store.lake": "postgresql://127.0.0.1:1/fleet", "store.lake_data": str(tmp_path)}
    config = load(None, {**settings, "server.store": str(tmp_path / "own.duckdb")}, {})
    with ExitStack() as stack:
        runtime = open_file(config, tmp_path / "scratch.duckdb", stack)
        assert runtime.database.lake is None
        with pytest.raises(StoreError):
            open_file(config, tmp_path / "own.duckdb", stack)
