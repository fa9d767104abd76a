"""Predictions of a running server: the ledger, asking, promoting, training, being killed."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis.predictors_view import predictors
from predictors.settings import PredictSettings
from servescope.predicting.bench import NotReady
from servescope.predicting.service import Predicting
from store.clock import VirtualClock, WallClock
from store.database import Database
from store.errors import InputError, PredictorError
from store.queries.scope import Scope
from store.settings import StoreSettings

START = datetime(2026, 3, 1)
SMALL = StoreSettings(memory_limit_bytes=128 << 20)
_OUTCOMES = ("output_tokens", "ttft_seconds", "e2e_seconds")


def finished(first, n, seed=0, scale=1.0, gap_seconds=0.5, **more):
    """Requests `first` to `first + n`, the same whoever makes them."""
    random = np.random.default_rng([seed, first])
    ttft = random.exponential(0.2, n) * scale
    tokens = np.maximum(random.lognormal(4, 0.6, n), 1).astype(int)
    return pl.DataFrame(
        {
            "request_id": [f"r{first + i}" for i in range(n)],
            "arrived_at": [START + timedelta(seconds=gap_seconds * (first + i)) for i in range(n)],
            "status": ["ok"] * n,
            "model": ["m"] * n,
            "route": ["chat"] * n,
            "instance": ["a:1"] * n,
            "input_tokens": random.integers(1, 2000, n),
            "output_tokens": tokens,
            "ttft_seconds": ttft,
            "e2e_seconds": ttft + 0.01 * tokens,
            **more,
        }
    )


class Fleet:
    """A store, its predictions, and requests that end."""

    def __init__(self, database, **settings):
        self.database, self.clock = database, VirtualClock(START.replace(tzinfo=UTC))
        self.predicting = Predicting(database, self.clock, PredictSettings(**settings))
        self.count = 0

    def ends(self, n, **more):
        self.database.writer.append("request", finished(self.count, n, **more)).result()
        self.count += n
        self.clock.advance(0.5 * n)

    def settled(self, seconds=5.0):
        """After all of them have ended."""
        self.clock.advance(seconds)
        return self.predicting.settle()

    def rows(self, where="TRUE"):
        return self.database.reader.scalar(f"SELECT count(*) FROM prediction WHERE {where}")

    def view(self):
        end = START + timedelta(days=1)
        return predictors(
            self.database.reader, Scope((1,), START.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
        )


@pytest.fixture
def database():
    with Database.open(None, SMALL, WallClock()) as opened:
        yield opened


@pytest.fixture
def fleet(database):
    return Fleet(database)


def test_finished_requests_become_predictions_with_outcomes(fleet):
    """The first ones teach, the others are predicted once a quantity and joined to what came."""
    fleet.ends(400)
    told = fleet.settled()
    assert told["left_out"] == 0
    assert fleet.rows() == 3 * 380
    for _ in range(3):
        fleet.ends(400)
        fleet.settled()
    view = fleet.view()
    found = {row["quantity"]: row for row in view.frames["quantities"].to_dicts()}
    assert set(found) == {"output_tokens", "ttft_seconds", "e2e_seconds"}
    for row in found.values():
        assert row["predictions"] == row["outcomes"] == 1580
        assert row["fallback_ratio"] == 1.0
        assert row["before_ratio"] == 0.0
        assert row["calibrated_ratio"] > 0.8
    at_nine = view.frames["calibration"].filter(pl.col("level") == 0.9)
    assert (at_nine["coverage_ratio"] - 0.9).abs().max() < 0.04
    assert "no trained model answers yet" in view.sentences[0]


def test_a_run_that_says_nothing_is_no_fault(fleet):
    """Where only refused requests came there is nothing to say; they are done with all the same."""
    fleet.ends(100)
    fleet.settled()
    before = fleet.rows()
    fleet.ends(5, status=["refused"] * 5, **dict.fromkeys(_OUTCOMES, [None] * 5))
    told = fleet.settled()
    assert (told["requests"], told["predictions"], fleet.rows()) == (5, 0, before)
    assert fleet.settled() is None


def test_nothing_is_predicted_twice(fleet):
    """A second run and a second process add nothing; what comes later is added once."""
    fleet.ends(100)
    fleet.settled()
    before = fleet.rows()
    assert fleet.settled() is None
    other = Fleet(fleet.database)
    other.count, other.clock = fleet.count, fleet.clock
    other.predicting = Predicting(fleet.database, fleet.clock, PredictSettings())
    assert other.settled() is None
    other.ends(50)
    other.settled()
    assert fleet.rows() == before + 3 * 50


def test_what_is_left_out_to_bound_the_work_is_counted(database):
    """Thirty of four hundred are predicted; the others teach, and the page says how many."""
    fleet = Fleet(database, most_requests_per_second=1.0)
    fleet.ends(400)
    told = fleet.settled()
    assert (told["requests"], told["left_out"]) == (30, 370)
    assert fleet.predicting.totals() == {"predicted": 30, "left_out": 370}
    run = pl.DataFrame(
        {
            "job": ["predictions"],
            "started_at": [START + timedelta(minutes=5)],
            "seconds": [0.1],
            "outcome": ["done"],
            "details": [json.dumps(told)],
        }
    )
    database.writer.append("job_run", run).result()
    assert fleet.view().measures["left_out"].value == 370


def test_a_new_process_goes_on_with_the_same_intervals(fleet):
    """Calibration is restored: what was calibrated is so at once after a restart."""
    for _ in range(3):
        fleet.ends(200)
        fleet.settled()
    other = Fleet(fleet.database)
    other.count, other.clock = fleet.count, fleet.clock
    other.predicting = Predicting(fleet.database, fleet.clock, PredictSettings())
    asked = pl.DataFrame({"model": ["m"], "route": ["chat"], "at": [START]})
    told = other.predicting.ask("output_tokens", asked)
    assert told["predictions"][0]["calibration"] == "calibrated"
    mine = fleet.predicting.ask("output_tokens", asked)
    assert np.allclose(
        told["predictions"][0]["quantiles"], mine["predictions"][0]["quantiles"], rtol=0.15
    )


def test_a_flood_is_bounded_and_counted(database):
    """More than may be predicted are learnt from only, and the record says how many."""
    fleet = Fleet(database, most_requests_per_second=2.0, ledger_seconds=30.0)
    fleet.ends(50)
    fleet.settled()
    before = fleet.rows("quantity = 'output_tokens'")
    fleet.ends(1000)
    told = fleet.settled()
    assert (told["requests"], told["left_out"]) == (60, 940)
    assert fleet.rows("quantity = 'output_tokens'") == before + 60


def test_cut_and_failed_requests_judge_nobody(fleet):
    """A cut answer is predicted and counted apart; a failed one has nothing to be judged by."""
    fleet.ends(100)
    fleet.settled()
    fleet.ends(50, finish_reason=["length"] * 50)
    fleet.ends(50, status=["failed"] * 50)
    fleet.settled()
    row = fleet.view().frames["quantities"].filter(pl.col("quantity") == "output_tokens")
    assert row["cut"].item() == 50
    assert row["outcomes"].item() == 80
    assert row["predictions"].item() == 130


def test_a_world_that_moves_is_told_and_intervals_widen(fleet):
    """Four times slower first tokens: an event names it, and later coverage recovers."""
    for _ in range(4):
        fleet.ends(200)
        fleet.settled()
    assert fleet.view().frames["drift"].is_empty()
    for _ in range(6):
        fleet.ends(200, scale=4.0)
        fleet.settled()
    assert "history-ttft" in fleet.view().frames["drift"]["subject"].to_list()
    covered = fleet.database.reader.scalar(
        """SELECT avg((r.ttft_seconds <= p.predicted[list_position(p.levels, 0.9)])::INT)
        FROM prediction AS p JOIN request AS r USING (source_id, arrived_at, request_key)
        WHERE p.quantity = 'ttft_seconds' AND p.arrived_at >= $since""",
        since=START + timedelta(seconds=0.5 * 1400),
    )
    assert covered > 0.85


def test_a_question_before_the_end_is_judged_by_it(fleet):
    """What a gateway asked is kept as said before, once, and meets its outcome."""
    fleet.ends(100)
    fleet.settled()
    coming = finished(fleet.count, 40)
    asked = coming.select("request_id", "model", "route", pl.col("arrived_at").alias("at"))
    told = fleet.predicting.ask("output_tokens", asked)
    assert told["stored"] == 40
    assert len(told["predictions"]) == 40
    fleet.ends(40)
    fleet.settled()
    assert fleet.rows("was_before") == 40
    assert fleet.rows("quantity = 'output_tokens'") == 80 + 40
    assert fleet.rows("quantity = 'ttft_seconds'") == 80 + 40
    row = fleet.view().frames["quantities"].filter(pl.col("quantity") == "output_tokens")
    assert row["outcomes"].item() == 120
    assert row["before_ratio"].item() == pytest.approx(40 / 120)


def test_before_the_first_requests_there_is_no_answer(fleet):
    """An empty store answers nothing, and says what it waits for; a wrong name is told."""
    asked = pl.DataFrame({"model": ["m"], "at": [START]})
    with pytest.raises(NotReady, match="nothing has taught"):
        fleet.predicting.ask("output_tokens", asked)
    with pytest.raises(PredictorError, match="no predictor"):
        fleet.predicting.ask("output_tokins", asked)
    assert fleet.settled() is None


def test_an_unknown_model_is_not_promoted(fleet):
    """A typo changes nothing."""
    with pytest.raises(InputError, match="no model"):
        fleet.predicting.promote("nobody", "me", "typo", "api")


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_predicting import Fleet, SMALL
from store.clock import WallClock
from store.database import Database
fleet = Fleet(Database.open(Path({path!r}), SMALL, WallClock()))
fleet.count = fleet.database.reader.scalar("SELECT count(*) FROM request")
fleet.clock.advance(0.5 * fleet.count + 10)
while True:
    fleet.ends(100)
    fleet.settled()
    print(fleet.count, flush=True)
"""


@pytest.mark.slow
def test_a_killed_server_predicts_nothing_twice(tmp_path):
    """kill -9 at any moment: each request and quantity stands there once, and states go along."""
    path = tmp_path / "store.duckdb"
    code = CHILD.format(here=str(Path(__file__).parent), path=str(path))
    for seconds in (1.0, 0.3, 0.7):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as p:
            assert p.stdout.readline(), "the child wrote a round"
            try:
                p.wait(seconds)
            except subprocess.TimeoutExpired:
                p.kill()
    with Database.open(path, SMALL, WallClock()) as database:
        reader = database.reader
        doubled = reader.scalar(
            """SELECT count(*) FROM (SELECT arrived_at, request_key, quantity FROM prediction
            GROUP BY ALL HAVING count(*) > 1)"""
        )
        assert doubled == 0
        assert reader.scalar("SELECT count(*) FROM prediction") >= 3 * 3 * 60
        marked = reader.scalar("SELECT count(DISTINCT (arrived_at, request_key)) FROM prediction")
        done = reader.scalar("SELECT count(*) FROM predicted_request")
        assert marked <= done <= reader.scalar("SELECT count(*) FROM request")
