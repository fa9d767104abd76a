"""The catalogue tells span and number of what each source holds, whatever is summed up of it."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from store.queries.catalog import sources, sources_sql
from store.rollup import refresh_due

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(days=400)
MINUTES = st.lists(st.integers(0, 600), max_size=6)


def add(database, minutes, label="r"):
    frame = pl.DataFrame(
        {
            "request_id": [f"{label}-{number}" for number in range(len(minutes))],
            "arrived_at": [START.replace(tzinfo=None) + timedelta(minutes=m) for m in minutes],
            "status": ["ok"] * len(minutes),
        },
        schema_overrides={"arrived_at": pl.Datetime("us"), "request_id": pl.String,
                          "status": pl.String},
    )  # fmt: skip
    if minutes:
        database.writer.append("request", frame).result()


def delete(database, sql):
    database.writer.run(lambda connection: connection.execute(f"DELETE {sql}")).result()


def live(database):
    (one,) = (source for source in sources(database.reader) if source.source_id == 1)
    return one.first_at, one.last_at, one.request_count


def told(minutes):
    if not minutes:
        return None, None, 0
    return (
        START + timedelta(minutes=min(minutes)),
        START + timedelta(minutes=max(minutes)),
        len(minutes),
    )


@settings(max_examples=40, deadline=None)
@given(before=MINUTES, after=MINUTES, gone_until=st.integers(0, 600), gone=st.booleans())
def test_what_is_summed_up_changes_no_number(shared, before, after, gone_until, gone):
    """Rows come before, between and after those summed up; of these some are deleted."""
    for table in ("request", "rollup_outcome", "rollup_dirty"):
        delete(shared, f"FROM {table}")
    add(shared, before, f"b{id(before)}")
    refresh_due(shared.writer, LATER)
    add(shared, after, f"a{id(after)}")
    kept = [*before, *after]
    if gone:
        at = START.replace(tzinfo=None) + timedelta(minutes=gone_until)
        delete(shared, f"FROM request WHERE arrived_at <= TIMESTAMP '{at}'")
        kept = [minute for minute in kept if minute > gone_until]
    assert live(shared) == told(kept)


def test_the_query_to_paste_says_the_same(database):
    """What somebody pastes reads all rows and gives the numbers of the page."""
    add(database, [5, 90, 300])
    refresh_due(database.writer, LATER)
    add(database, [310, 2], "later")
    found = database.reader.frame(sources_sql([1])).row(0, named=True)
    first, last, count = live(database)
    assert (found["first_at"].replace(tzinfo=UTC), found["last_at"].replace(tzinfo=UTC)) == (
        first,
        last,
    )
    assert found["requests"] == count == 5
