"""How many rows there are where only the first are given."""

from __future__ import annotations

from datetime import UTC, datetime

from store.clock import VirtualClock
from store.database import Database
from store.queries.first_rows import total
from store.settings import StoreSettings

FIVE = "SELECT k FROM (VALUES (1), (2), (3), (4), (5)) AS t (k) WHERE k >= $least LIMIT $most"


class Counting:
    """A reader that tells how often it was asked."""

    def __init__(self, reader):
        self.reader, self.asked = reader, 0

    def scalar(self, sql, **params):
        self.asked += 1
        return self.reader.scalar(sql, **params)


def test_rows_are_counted_only_where_some_are_left_out():
    """A table that is whole costs nothing; of one that is cut all rows are counted."""
    clock = VirtualClock(datetime(2026, 3, 1, tzinfo=UTC))
    with Database.open(None, StoreSettings(threads=1), clock) as database:
        reader = Counting(database.reader)
        assert total(reader, FIVE, 2, 3, least=4) == 2
        assert reader.asked == 0
        assert total(reader, FIVE, 3, 3, least=1) == 5
        assert total(reader, FIVE, 3, 3, least=3) == 3
        assert reader.asked == 2
