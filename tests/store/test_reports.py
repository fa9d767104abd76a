"""Runs of reports: a period is claimed once, whoever asks."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from store import reports
from store.clock import VirtualClock
from store.database import Database
from store.queries import reports as queries
from store.settings import StoreSettings

NOW = datetime(2026, 11, 16, 7, tzinfo=UTC)


def run(cause, period="2026-W46"):
    return reports.Run("weekly", period, cause, "schedule", NOW, NOW, {"name": "weekly"}, ["mail"])


def test_of_many_that_claim_a_period_one_gets_it():
    """At once, from many threads; whoever only asks always gets a run of its own."""
    with Database.open(None, StoreSettings(), VirtualClock(NOW)) as database:
        with ThreadPoolExecutor(8) as threads:
            causes = ["due", "late"] * 12 + ["asked"] * 4
            asked = threads.map(lambda c: reports.claim(database.writer, run(c)).result(), causes)
            found = list(asked)
        assert len([one for one in found[:24] if one]) == 1
        assert len({one for one in found if one}) == 5
        assert reports.claim(database.writer, run("due", "2026-W47")).result() is not None
        assert queries.is_claimed(database.reader, "weekly", "2026-W46")
        assert not queries.is_claimed(database.reader, "weekly", "2026-W48")


def test_states_of_one_moment_keep_their_order():
    """The newest counts, although the clock has not moved."""
    with Database.open(None, StoreSettings(), VirtualClock(NOW)) as database:
        run_id = reports.claim(database.writer, run("due")).result()
        for state in ("making", "sending", "sent"):
            reports.stand(database.writer, run_id, NOW, state, state).result()
        assert queries.runs(database.reader)["state"].to_list() == ["sent"]
        assert not queries.has_open(database.reader)
