"""The steps of the schema."""

from datetime import datetime

import polars as pl
import pytest

from store import migrate
from store.clock import WallClock
from store.database import Database, open_to_look
from store.errors import SchemaError
from store.migrate import Migration, migrations
from store.settings import StoreSettings

KEY_OF_BEFORE = 8950021500787084351


def test_every_step_has_a_number_of_its_own():
    """Two steps of one number would leave one of them out of every store, unseen."""
    numbers = [step.version for step in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_step_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    """Of a new store nothing is made, of an old one nothing is changed; both can be tried again."""
    good, bad = migrations()[:-1], Migration(99, "0099_bad.sql", "SELECT * FROM nowhere")
    for first in ([], good):
        path = tmp_path / f"{len(first)}.duckdb"
        if first:
            monkeypatch.setattr(migrate, "migrations", lambda: good)
            Database.open(path, StoreSettings(), WallClock()).close()
        monkeypatch.setattr(migrate, "migrations", lambda: [*good, bad])
        with pytest.raises(SchemaError, match="0099_bad"):
            Database.open(path, StoreSettings(), WallClock())
        with open_to_look(path, StoreSettings()) as connection:
            kept = connection.execute("SELECT count(*) FROM migration").fetchone()
            tables = connection.execute("SELECT count(*) FROM duckdb_tables()").fetchone()
        assert kept == (len(first),)
        assert (tables == (1,)) == (first == [])
        monkeypatch.undo()
        with Database.open(path, StoreSettings(), WallClock()) as database:
            assert database.reader.scalar("SELECT count(*) FROM request") == 0


def test_an_old_store_learns_what_gateways_tell(tmp_path, monkeypatch):
    """Rows of before stay as they are, and new ones stand beside them."""
    path = tmp_path / "old.duckdb"
    old = [step for step in migrations() if step.version <= 16]
    monkeypatch.setattr(migrate, "migrations", lambda: old)
    row = {"arrived_at": [datetime(2026, 1, 31)], "status": ["ok"], "tenant": ["acme"]}
    with Database.open(path, StoreSettings(), WallClock()) as database:
        database.writer.run(
            lambda connection: connection.execute(
                """INSERT INTO request_labels VALUES (1, 'acme', NULL, NULL, NULL, NULL, NULL);
                INSERT INTO request BY NAME SELECT 1 AS source_id, 1 AS labels_id,
                  TIMESTAMP '2026-01-31' AS arrived_at, 'ok' AS status, 7 AS request_key"""
            )
        ).result()
    monkeypatch.undo()
    with Database.open(path, StoreSettings(), WallClock()) as database:
        told = {"request_id": ["gw:1"], "attempt": [1], "admission_reason": ["queue_full"]}
        told |= {**row, "status": ["refused"], "itl_max_seconds": [0.5], "tenant_weight": [2.0]}
        assert database.writer.append("request", pl.DataFrame(told)).result() == 1
        found = database.reader.frame(
            """SELECT status, tenant, admission_reason, attempt, itl_max_seconds, tenant_weight
            FROM requests ORDER BY status"""
        )
    assert found.rows() == [
        ("ok", "acme", None, None, None, None),
        ("refused", "acme", "queue_full", 1, 0.5, 2.0),
    ]


def test_rows_without_an_id_keep_their_key():
    """What a gateway adds is no part of the content that names a row told by others."""
    row = {"arrived_at": [datetime(2026, 1, 31)], "status": ["ok"], "input_tokens": [5]}
    with Database.open(None, StoreSettings(), WallClock()) as database:
        database.writer.append("request", pl.DataFrame(row)).result()
        key = database.reader.scalar("SELECT request_key FROM request")
    assert key == KEY_OF_BEFORE
