"""The doors of predictions: asking, listing, training, promoting."""

from __future__ import annotations

from datetime import timedelta

import pytest

from servescope.predicting.bench import NotReady

ROOT = "/api/v1"


def ask(client, name, rows):
    return client.post(f"{ROOT}/predictions/{name}", json={"rows": rows})


@pytest.fixture
def taught(client, filled, more_requests, clock):
    """A server that has seen an hour of requests."""
    filled.predicting.settle()
    return client


def test_a_question_is_answered_with_a_distribution(taught):
    """Quantiles rise with their levels; who answered and whether it is the fallback is told."""
    answer = ask(taught, "output_tokens", [{"model": "llama"}, {"model": "never seen"}])
    assert answer.status_code == 200
    told = answer.json()
    assert told["quantity"] == "output_tokens"
    assert told["model_id"] == "history-output-tokens"
    assert len(told["predictions"]) == 2
    for row in told["predictions"]:
        assert row["was_fallback"] is True
        assert row["quantiles"] == sorted(row["quantiles"])
        assert len(row["quantiles"]) == len(told["levels"])


def test_a_question_with_its_request_is_kept(taught, filled, clock):
    """One with request_id and arrived_at becomes a row; without them nothing is kept."""
    at = (clock.now() + timedelta(seconds=1)).isoformat()
    rows = [{"model": "llama", "request_id": "x1", "arrived_at": at}, {"model": "llama"}]
    assert ask(taught, "output_tokens", rows).json()["stored"] == 1
    assert ask(taught, "output_tokens", rows[:1]).status_code == 200
    kept = filled.database.reader.frame("SELECT request_key FROM prediction WHERE was_before")
    assert kept["request_key"].item() == filled.database.reader.scalar("SELECT hash('x1')")


@pytest.mark.parametrize(
    ("rows", "status", "words"),
    [
        ([], 400, "0 rows"),
        ([{"model": "m", "request_id": "x"}], 400, "arrived_at"),
        ([{"model": "m", "arrived_at": "yesterday"}], 400, "not a time"),
        ([{"model": "m"}, {"model": {"a": 1}}], 400, "do not fit"),
        ([{"model": "m"}] * 10_001, 400, "10,001"),
    ],
)
def test_questions_that_make_no_sense_are_refused(taught, rows, status, words):
    """One clear line each, and nothing is kept."""
    answer = ask(taught, "output_tokens", rows)
    assert answer.status_code == status
    assert words in answer.text


def test_a_predictor_that_is_not_there_is_refused_with_the_nearest(taught):
    """Unknown names are a client's mistake, and the known ones are told."""
    answer = ask(taught, "output_tokenz", [{"model": "m"}])
    assert answer.status_code == 400
    assert "output_tokens" in answer.json()["hint"]


def test_an_answer_before_anything_was_seen_is_a_conflict(taught):
    """No time per output token was ever told: it says what it waits for."""
    answer = ask(taught, "tpot_seconds", [{"model": "m"}])
    assert answer.status_code == 409
    assert "finished requests" in answer.json()["hint"]


def test_the_list_says_who_answers(taught):
    """Catalogue, models, and the history that answers where no model does."""
    told = taught.get(f"{ROOT}/predictors").json()
    assert told["training"] is None
    assert told["answering"]["output_tokens"] == "history-output-tokens"
    assert {"predictors", "models", "problems"} <= set(told)


def test_one_training_at_a_time(client, filled, monkeypatch):
    """While one goes on it is shown, and a second is refused."""
    seen = {}

    def slow(database, clock, name, scope, **more):
        seen["shown"] = filled.predicting.document()["training"]
        with pytest.raises(NotReady) as refused:
            filled.predicting.train("another", None)
        seen["refused"] = refused.value
        raise RuntimeError("enough")

    monkeypatch.setattr("servescope.predicting.bench.train", slow)
    with pytest.raises(RuntimeError, match="enough"):
        filled.predicting.train("one", None, by="me")
    assert seen["shown"]["predictor"] == "one"
    assert seen["shown"]["by"] == "me"
    assert seen["refused"].status == 409
    assert filled.predicting.document()["training"] is None


def test_training_what_is_not_there_is_refused(client):
    """An unknown predictor and an unknown parameter are a client's mistakes."""
    assert client.post(f"{ROOT}/predictors/nobody/train", json={}).status_code == 400
    answer = client.post(f"{ROOT}/predictors/nobody/train", json={"form": "now-1h"})
    assert "no parameter 'form'" in answer.text


def test_promoting_what_is_not_there_is_refused(client, filled):
    """Nothing changes and nothing is noted."""
    answer = client.post(f"{ROOT}/predictors/promote", json={"model_id": "nobody"})
    assert answer.status_code == 400
    assert filled.database.reader.scalar("SELECT count(*) FROM audit") == 0


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"windows": "many"}, "no number of windows"),
        ({"rows": "x.parquet"}, "no parameter 'rows'"),
        ({"windows": "40"}, "40 windows"),
    ],
)
def test_a_back_test_that_cannot_be_is_refused(taught, about, words):
    """In one line, before anything is begun."""
    answer = taught.post(f"{ROOT}/predictors/latency-ttft/backtest", json=about)
    assert answer.status_code == 400
    assert words in answer.json()["detail"]


def test_while_one_is_back_tested_no_other_is(filled, monkeypatch):
    """One process at a time; meanwhile it is told how far it is."""
    seen = {}

    def slow(*_, told, **more):
        told(2)
        seen.update(filled.predicting.document()["training"])
        with pytest.raises(NotReady, match="demand-rate is being back-tested"):
            filled.predicting.train("latency-ttft", None)
        return {"windows": more["windows"]}

    monkeypatch.setattr("servescope.predicting.bench.backtest", slow)
    told = filled.predicting.bench.backtest("demand-rate", None, "live", 6)
    assert told == {"windows": 6}
    assert (seen["doing"], seen["windows"], seen["windows_done"]) == ("back-tested", 6, 2)
    assert filled.predicting.document()["training"] is None
