"""The back-test of lengths: what it tells when data is there, and when it is not."""

from __future__ import annotations

import gzip
import json

import numpy as np
import polars as pl
import pytest

from predictors.backtest import table
from predictors.length import castillo
from predictors.length.backtest import backtest
from predictors.length.bins import Lengths, softened
from predictors.length.judging import coverage_online, ends_within_auc, floor, judged


@pytest.fixture
def data(tmp_path):
    """A folder with a little of everything, made up."""
    random = np.random.default_rng(0)
    for number, name in enumerate(castillo.FILES):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        rows = []
        for prompt in range(120):
            is_story = prompt % 2 == 0
            ask = "Write a long story about" if is_story else "One word for"
            middle = 500 if is_story else 9
            rows.extend(
                {
                    "prompt_text": f"{ask} thing {prompt} of file {number}",
                    "model": model,
                    "dataset": "stories" if is_story else "words",
                    "input_size_tokens": 9,
                    "output_sizes_tokens": np.maximum(
                        random.lognormal(np.log(middle), 0.2, 10), 1
                    ).astype(int),
                    "longest_response": "some words of an answer",
                }
                for model in ("m1", "m2")
            )
        pl.DataFrame(rows).write_parquet(path)
    azure = tmp_path / "azure_llm_2023"
    azure.mkdir()
    for kind in ("conv", "code"):
        lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
        for second in range(400):
            size = 2000 if second % 2 else 100
            minute, rest = divmod(second, 60)
            answer = 200 + second % 7 if second % 2 else 20 + second % 3
            lines.append(f"2023-11-16 18:{minute:02}:{rest:02}.1234567,{size},{answer}")
        with gzip.open(azure / f"AzureLLMInferenceTrace_{kind}.csv.gz", "wt") as file:
            file.write("\n".join(lines) + "\n")
    mooncake = tmp_path / "mooncake"
    mooncake.mkdir()
    with gzip.open(mooncake / "conversation_trace.jsonl.gz", "wt") as file:
        for number in range(300):
            row = {
                "timestamp": 3000 * number,
                "input_length": 600,
                "output_length": 100 + number % 9,
                "hash_ids": [0, number],
            }
            file.write(json.dumps(row) + "\n")
    return tmp_path


def test_every_method_is_judged_on_the_same_rows(data):
    """Ours, every rival and the floor have the same numbers of rows, and ours has the targets."""
    cells = table(backtest(data, 0, True, lambda _: None))
    text = cells.filter(
        (pl.col("case") == "CASTILLO, unseen prompts") & (pl.col("metric") == "mae")
    )
    assert text["n"].n_unique() == 1
    assert {"ours", "constant", "history of model and route", "floor: the other 9 samples"} <= set(
        text["method"]
    )
    assert text.filter(pl.col("method") == "ours")["target"].to_list() == [165.0]
    assert cells.filter(pl.col("target").is_not_null())["is_rival"].sum() == 0
    cases = set(cells["case"])
    assert any("left out" in case for case in cases)
    assert any("Azure conv" in case for case in cases)


def test_missing_data_is_told_by_name(tmp_path):
    """Without data there are no cells, and one line says which set is missing."""
    told: list[str] = []
    assert list(backtest(tmp_path, 0, False, told.append)) == []
    assert any("castillo" in line for line in told)
    assert any("mooncake" in line for line in told)


def test_the_floor_beats_everything_honest():
    """The other samples of a prompt predict a sample better than the best constant does."""
    random = np.random.default_rng(0)
    samples = random.lognormal(np.repeat(random.normal(5, 1, 200), 10), 0.2).reshape(200, 10)
    spread = Lengths.of(np.tile(softened(samples.ravel()).sum(axis=0), (200, 1)))
    best = floor(samples)
    constant = judged(spread.quantiles(), samples)
    assert best.pinball < 0.5 * constant.pinball
    assert best.kendall_tau > 0.7


def test_a_useless_forecast_has_an_area_of_one_half():
    """Where all prompts are answered alike, P(ends within) ranks nothing."""
    samples = np.random.default_rng(0).lognormal(5, 1, (100, 10))
    spread = Lengths.of(np.tile(softened(samples.ravel()).sum(axis=0), (100, 1)))
    assert ends_within_auc(spread, samples, 0, 128) == pytest.approx(0.5)


def test_outcomes_bring_the_coverage_back():
    """A forecast that is half of what comes true covers nine in ten after a hundred requests."""
    random = np.random.default_rng(0)
    real = random.lognormal(5, 0.6, 1500)
    spread = Lengths.of(np.tile(softened(real / 2).sum(axis=0), (1500, 1)))
    raw, corrected = coverage_online(spread.quantiles(), [("m", "r")] * 1500, real, 0)
    assert raw < 0.7
    assert corrected == pytest.approx(0.9, abs=0.02)
