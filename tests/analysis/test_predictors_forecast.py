"""Demand beside what came true, the state of instances, and which models answer."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from analysis import predictors_models as models_view
from analysis.degradation_view import degradation_now
from analysis.predictors_forecast import predictors_forecast
from analysis.predictors_models import predictors_models
from store import models
from store.clock import WallClock
from store.database import Database
from store.errors import InputError
from store.queries.scope import Scope
from store.settings import StoreSettings

START = datetime(2026, 3, 1, tzinfo=UTC)
NAIVE = START.replace(tzinfo=None)
LEVELS = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99]
SPREAD = [0.6, 0.7, 0.8, 1.0, 1.2, 1.3, 1.4, 1.6]
WINDOWS = 12


def scope(**more):
    return Scope(source_ids=(1,), start=START, end=START + timedelta(hours=2), **more)


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(memory_limit_bytes=128 << 20), WallClock()) as opened:
        yield opened


def traffic(database, silent=()):
    """Window i has 10 + i requests of tenant a and 5 of b, but none when it is silent."""
    at, tenant = [], []
    for window in range(WINDOWS):
        if window in silent:
            continue
        begin = NAIVE + timedelta(minutes=10 * window)
        for name, count in (("a", 10 + window), ("b", 5)):
            at += [begin + timedelta(seconds=600 * i / count) for i in range(count)]
            tenant += [name] * count
    rows = pl.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(len(at))],
            "arrived_at": at,
            "status": ["ok"] * len(at),
            "model": ["m"] * len(at),
            "tenant": tenant,
            "input_tokens": [40] * len(at),
            "output_tokens": [20] * len(at),
        }
    )
    database.writer.append("request", rows).result()


def forecasts(
    database, values, key=("m", "(all)"), quantity="requests_per_second", horizon=600.0, **more
):
    """`values[i]` was said for window i + 1, when window i began its successor."""
    n = len(values)
    rows = pl.DataFrame(
        {
            "source_id": [1] * n,
            "made_at": [NAIVE + timedelta(minutes=10 * (i + 1)) for i in range(n)],
            "quantity": [quantity] * n,
            "horizon_seconds": [horizon] * n,
            "key": [list(key)] * n,
            "levels": [LEVELS] * n,
            "predicted": [[v * share for share in SPREAD] for v in values],
            "rival": [[0.02 * share for share in SPREAD]] * n,
            "model_id": ["demand-1"] * n,
            "rival_id": ["last"] * n,
            "calibration": ["calibrated"] * n,
            "was_fallback": [i == 0 for i in range(n)],
            "features_age_seconds": [3.0] * n,
            **more,
        }
    )
    database.writer.append("forecast", rows).result()


def test_outcomes_are_the_requests_of_the_window(database):
    """The course shows the mean rate of the ten minutes each forecast is about."""
    traffic(database)
    forecasts(database, [0.0251] * (WINDOWS - 1))
    view = predictors_forecast(database.reader, scope())
    real = view.frames["course"]["outcome"].to_list()
    # The last window is not over as far as the record tells, so it has no outcome yet.
    assert real[:-1] == pytest.approx([(15 + i) / 600 for i in range(1, WINDOWS - 1)])
    assert real[-1] is None
    (row,) = view.frames["horizons"].to_dicts()
    assert (row["forecasts"], row["outcomes"]) == (WINDOWS - 1, WINDOWS - 2)
    assert row["fallback_ratio"] == pytest.approx(1 / (WINDOWS - 1))
    inside = [0.6 * 0.0251 <= v <= 1.4 * 0.0251 for v in real[:-1]]
    assert row["coverage_90_ratio"] == pytest.approx(sum(inside) / len(inside))
    assert row["skill_ratio"] is None
    assert "too few" in view.sentences[0]


def test_the_worst_misses_come_first_and_need_an_outcome(database):
    """Ten at most, by how far off; what has not happened yet is no miss."""
    traffic(database)
    forecasts(database, [0.0251] * 3 + [0.2] + [0.0251] * (WINDOWS - 5))
    view = predictors_forecast(database.reader, scope())
    found = view.frames["misses"]
    assert found["median"][0] == pytest.approx(0.2)
    assert found["error"][0] == pytest.approx(found["outcome"][0] - 0.2)
    assert found["error"].abs().is_sorted(descending=True)
    assert 0 < found.height <= 10
    assert found["outcome"].null_count() == 0


def test_a_rival_that_answers_by_itself_is_not_compared_with_itself(database):
    """Without a trained model there is nothing to compare, and no 0 % worse."""
    traffic(database)
    for key in (("m", "(all)"), ("m", "a"), ("m", "b")):
        n = WINDOWS - 1
        forecasts(database, [0.02] * n, key=key, was_fallback=[True] * n)
    view = predictors_forecast(database.reader, scope())
    assert "no trained model answers yet" in view.sentences[0]


def test_a_tenant_is_counted_alone_and_tokens_are_both_kinds(database):
    """Keys name model and tenant; tokens are those in and out."""
    traffic(database)
    forecasts(database, [0.01] * 5, key=("m", "b"))
    forecasts(database, [2.0] * 5, key=("m", "b"), quantity="tokens_per_second")
    view = predictors_forecast(database.reader, scope(), quantity="requests_per_second")
    assert view.frames["course"]["outcome"].to_list() == pytest.approx([5 / 600] * 5)
    view = predictors_forecast(database.reader, scope(), quantity="tokens_per_second")
    assert view.frames["course"]["outcome"].to_list() == pytest.approx([5 * 60 / 600] * 5)


def test_an_outage_is_no_outcome(database):
    """Where a whole model fell silent nothing is judged: nobody stops asking all at once."""
    traffic(database, silent=(4,))
    forecasts(database, [0.025] * 8)
    course = predictors_forecast(database.reader, scope()).frames["course"]
    assert [value is None for value in course["outcome"]] == [i == 3 for i in range(8)]


def test_enough_outcomes_have_a_skill(database):
    """Thirty outcomes over all horizons are judged, each horizon for itself as well."""
    traffic(database)
    for horizon in (600.0, 1200.0, 1800.0, 2400.0):
        ahead = int(horizon // 600)
        forecasts(
            database, [(15 + i + ahead) / 600 for i in range(WINDOWS - 2 - ahead)], horizon=horizon
        )
    view = predictors_forecast(database.reader, scope(), horizon="1200")
    assert view.frames["shown"]["horizon_seconds"][0] == 1200
    assert view.measures["skill_ratio"].value is None or view.measures["skill_ratio"].value > 0
    assert set(view.frames["course"]["horizon_seconds"]) == {1200.0}
    ahead = view.frames["ahead"]
    assert ahead["made_at"].n_unique() == 1


@pytest.mark.parametrize(
    "options", [{"quantity": "x"}, {"key": "x"}, {"horizon": "5"}, {"horizon": "soon"}]
)
def test_what_was_never_forecast_is_refused(database, options):
    """An option that fits nothing is an error that lists what there is."""
    traffic(database)
    forecasts(database, [0.025] * 3)
    with pytest.raises(InputError) as caught:
        predictors_forecast(database.reader, scope(), **options)
    assert "there are" in caught.value.hint


def test_without_forecasts_the_reason_is_one_of_four(database):
    """Nothing connected, never forecast, elsewhere in time, other labels."""
    assert predictors_forecast(database.reader, scope()).empty.kind == "nothing_connected"
    traffic(database)
    assert predictors_forecast(database.reader, scope()).empty.kind == "metric_absent"
    forecasts(database, [0.025] * 3)
    later = Scope((1,), START + timedelta(days=2), START + timedelta(days=3))
    assert predictors_forecast(database.reader, later).empty.kind == "outside_range"
    assert predictors_forecast(database.reader, scope(models=("x",))).empty.kind == "no_traffic"
    trace = Scope((2,), START, START + timedelta(hours=2))
    assert predictors_forecast(database.reader, trace).empty.kind == "metric_absent"


def states(database, values, at=0, horizon=0.0):
    forecasts_of = pl.DataFrame(
        {
            "source_id": [1] * len(values),
            "made_at": [NAIVE + timedelta(minutes=at)] * len(values),
            "quantity": ["performance_ratio"] * len(values),
            "horizon_seconds": [horizon] * len(values),
            "key": [[name] for name in values],
            "levels": [LEVELS] * len(values),
            "predicted": [[v + 0.01 * i for i in range(8)] for v in values.values()],
            "rival": [[0.9] * 8] * len(values),
            "model_id": ["degradation-1"] * len(values),
            "rival_id": ["constant"] * len(values),
            "calibration": ["raw"] * len(values),
            "was_fallback": [name == "gpu-9" for name in values],
            "features_age_seconds": [2.0] * len(values),
        }
    )
    database.writer.append("forecast", forecasts_of).result()


def test_the_newest_state_of_each_instance_counts(database):
    """Slowest first; what the interval does not settle is unclear, and so is a fallback's word."""
    states(database, {"gpu-1": 0.2, "gpu-2": 0.92})
    states(database, {"gpu-1": 0.6, "gpu-3": 0.85, "gpu-9": 0.1}, at=5)
    view = degradation_now(database.reader, scope())
    found = dict(view.frames["instances"].select("instance", "state").iter_rows())
    assert found == {
        "gpu-9": "unclear",
        "gpu-1": "slowed",
        "gpu-3": "unclear",
        "gpu-2": "undisturbed",
    }
    assert view.measures["slowed"].value == 1
    assert view.sentences[0].startswith("gpu-1 gets 63 %")
    assert view.frames["course"].height == 5
    states(database, {"gpu-1": 0.3}, at=5, horizon=30.0)
    first = degradation_now(database.reader, scope()).frames["instances"].row(1, named=True)
    assert (first["instance"], first["horizon_seconds"], first["ahead_seconds"]) == ("gpu-1", 0, 30)
    assert first["ahead_ratio"] == pytest.approx(0.33)


def test_no_state_says_what_it_needs(database):
    """Without an estimate the view says how to get one."""
    assert degradation_now(database.reader, scope()).empty.kind == "nothing_connected"
    traffic(database)
    assert "servescope lab run" in degradation_now(database.reader, scope()).empty.text
    states(database, {"gpu-1": 0.2})
    later = Scope((1,), START + timedelta(days=2), START + timedelta(days=3))
    assert degradation_now(database.reader, later).empty.kind == "outside_range"


def test_the_registry_says_who_answers(database):
    """Champion and challenger, and what to do when there is neither."""
    assert "servescope train" in " ".join(predictors_models(database.reader, scope()).sentences)
    for name in ("length-1", "length-2"):
        row = models.ModelRow(name, "length", START, START, "0" * 64, {"rows": 9})
        models.add(database.writer, row).result()
    assert "No model is champion" in " ".join(predictors_models(database.reader, scope()).sentences)
    models.promote(database.writer, "length-2", START, "cli", "better").result()
    view = predictors_models(database.reader, scope())
    states_by = dict(view.frames["models"].select("model_id", "state").iter_rows())
    assert states_by == {"length-1": "challenger", "length-2": "champion"}


def test_a_missing_extra_is_named(database, monkeypatch):
    """A server without torch says so, and how to get it."""
    monkeypatch.setattr(models_view, "EXTRA_MODULES", ("torch_that_is_not_there",))
    view = predictors_models(database.reader, scope())
    assert "servescope[predict]" in view.sentences[0]
    assert view.measures["extra_missing"].value == 1
