"""Lengths on traces without texts: Azure's two services and Mooncake's conversations."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from predictors.backtest import Cell, Told, cells_of
from predictors.base import AT, OUTCOME, Predictor
from predictors.distribution import Quantiles
from predictors.length import rivals
from predictors.length.histogram import HistogramSettings, LengthHistogram
from predictors.length.metadata import MetadataLength
from predictors.length.spec import BLOCKS, INPUT, METADATA_SPEC
from predictors.scoring import score
from predictors.serving import Served

LEARN_SHARE = 0.7
METRICS = ("mae", "kendall_tau", "pinball", "coverage_q90")
# Rows answered before the outcomes of the rows before them are told.
_TOGETHER = 20
# What can be learnt from the size alone is nothing: no worse than the constant within this.
_HARMLESS_RATIO = 1.005


@dataclass(frozen=True, slots=True)
class _Trace:
    case: str
    file: str
    read: Callable[[Path], pl.DataFrame]
    target: float | None


def azure(path: Path) -> pl.DataFrame:
    """Requests of an Azure LLM inference trace, in their order."""
    stamp = pl.col("TIMESTAMP").str.slice(0, 26)
    return pl.read_csv(path).select(
        stamp.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us").alias(AT),
        pl.col("ContextTokens").cast(pl.Float64).alias(INPUT),
        pl.col("GeneratedTokens").cast(pl.Float64).alias(OUTCOME),
    )


def mooncake(path: Path) -> pl.DataFrame:
    """Requests of a Mooncake trace with their block hashes, in their order."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return pl.DataFrame(
        {
            AT: [row["timestamp"] for row in found],
            INPUT: [float(row["input_length"]) for row in found],
            OUTCOME: [float(row["output_length"]) for row in found],
            BLOCKS: [row["hash_ids"] for row in found],
        }
    ).with_columns(pl.from_epoch(AT, "ms").cast(pl.Datetime("us")))


_AZURE = "azure_llm_2023/AzureLLMInferenceTrace_{}.csv.gz"
_TRACES = (
    _Trace("Azure conv, last 30 % of time", _AZURE.format("conv"), azure, 46.0),
    _Trace("Azure code, last 30 % of time", _AZURE.format("code"), azure, None),
    _Trace(
        "Mooncake conversation, last 30 % of time",
        "mooncake/conversation_trace.jsonl.gz",
        mooncake,
        145.0,
    ),
)


def metadata(data: Path, seed: int, quick: bool, told: Told) -> Iterator[Cell]:
    """Cells of every trace that is there."""
    for trace in _TRACES:
        path = data / trace.file
        if not path.exists():
            told(f"length: {trace.file} is missing; its figures are left out")
        elif not quick or trace.target != 145.0:
            yield from _judged(trace, trace.read(path), seed)


def _judged(trace: _Trace, rows: pl.DataFrame, seed: int) -> Iterator[Cell]:
    cut = int(rows.height * LEARN_SHARE)
    learn, judge = rows.head(cut), rows.slice(cut)
    recent = LengthHistogram(METADATA_SPEC, HistogramSettings(memory_rows=1000))
    methods: dict[str, Predictor] = {
        "constant": rivals.constant(),
        "history of the last 1000": recent,
        "ours": MetadataLength(seed),
    }
    base = Cell("length", trace.case, "", "", 0.0, 0, seed)
    limit = trace.target
    for method, predictor in methods.items():
        start = time.process_time()
        predictor.fit(learn)
        made = _answered(predictor, judge, learns=method != "constant")
        scores = score(made, judge[OUTCOME].to_numpy())
        if limit is None:
            limit = scores.mae * _HARMLESS_RATIO
        base = replace(base, method=method, seconds=time.process_time() - start)
        is_ours = method == "ours"
        targets = {"mae": limit} if is_ours else {}
        yield from cells_of(scores, replace(base, is_rival=not is_ours), METRICS, targets)
    yield from _served(base, methods["ours"], recent, learn, judge)


def _answered(predictor: Predictor, judge: pl.DataFrame, learns: bool) -> Quantiles:
    parts = []
    for low in range(0, judge.height, _TOGETHER):
        part = judge.slice(low, _TOGETHER)
        parts.append(predictor.predict(part).quantiles)
        if learns:
            predictor.observe(part)
    return Quantiles(parts[0].levels, np.concatenate([part.values for part in parts]))


def _served(
    base: Cell, ours: Predictor, rival: Predictor, learn: pl.DataFrame, judge: pl.DataFrame
) -> Iterator[Cell]:
    """What a fleet would get: corrected by outcomes, the rival where it wins."""
    ours.fit(learn)
    rival.fit(learn)
    served = Served(ours, rival)
    parts = []
    for low in range(0, judge.height, _TOGETHER):
        part = judge.slice(low, _TOGETHER)
        answer = served.predict(part)
        parts.append(answer.prediction.quantiles)
        served.observe(part, answer, part[OUTCOME].to_numpy())
    made = Quantiles(parts[0].levels, np.concatenate([part.values for part in parts]))
    scores = score(made, judge[OUTCOME].to_numpy())
    told = replace(base, method="ours, served")
    yield from cells_of(scores, told, METRICS, {"coverage_q90": 0.90})
