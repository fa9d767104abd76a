"""The registry of trained models: rows that are only ever added.

A model is a row of `model` and a folder of plain arrays beside the store; its scores are rows of
`evaluation`. The newest row of `promotion` says which model of a predictor answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from store.errors import InputError
from store.reader import Reader
from store.writer import Writer


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One score of a model beside the score of its naive rival, on the same rows.

    Attributes:
        split: which rows: "last fifth by time", "unseen prompts".
        metric: name, with its unit where it has one.
        value: of the model; None when it could not be known.
        baseline_value: of the rival.
        n: rows judged.
    """

    split: str
    metric: str
    value: float | None
    baseline_value: float | None
    n: int


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A trained model.

    Attributes:
        model_id: unique.
        predictor: name in the catalogue of predictors.
        trained_at: aware UTC.
        data_until: aware UTC, or trace time: the newest row it learnt from.
        artifact_hash: SHA-256 of its arrays.
        manifest: rows, seconds, seed, features, notes.
        evaluations: its scores.
    """

    model_id: str
    predictor: str
    trained_at: datetime
    data_until: datetime
    artifact_hash: str
    manifest: Mapping[str, Any]
    evaluations: Sequence[Evaluation] = ()


def models_folder(store: Path) -> Path:
    """Where the arrays of the models of a store lie: one folder a model."""
    return store.with_name(f"{store.name}.models")


def add(writer: Writer, row: ModelRow) -> Future[bool]:
    """Register a model; False when it was there already (the same rows give the same model)."""

    def work(connection: duckdb.DuckDBPyConnection) -> bool:
        known = connection.execute(
            "SELECT count(*) FROM model WHERE model_id = ?", [row.model_id]
        ).fetchall()[0][0]
        if known:
            return False
        connection.execute(
            "INSERT INTO model VALUES (?, ?, ?, ?, ?, ?)",
            [
                *(row.model_id, row.predictor, _naive(row.trained_at), _naive(row.data_until)),
                *(row.artifact_hash, json.dumps(dict(row.manifest), default=str)),
            ],
        )
        for one in row.evaluations:
            connection.execute(
                "INSERT INTO evaluation VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    *(row.model_id, _naive(row.trained_at), one.split, one.metric),
                    *(one.value, one.baseline_value, one.n),
                ],
            )
        return True

    return writer.run(work)


def evaluate(writer: Writer, model_id: str, at: datetime, score: Evaluation) -> Future[None]:
    """Add a score that a model earned after its training.

    Args:
        writer: the store's writer.
        model_id: whose.
        at: aware UTC.
        score: what it came to.
    """

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(
            "INSERT INTO evaluation VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                *(model_id, _naive(at), score.split, score.metric),
                *(score.value, score.baseline_value, score.n),
            ],
        )

    return writer.run(work)


def promote(
    writer: Writer, model_id: str, at: datetime, by: str, reason: str
) -> Future[str | None]:
    """Let a model answer from now on; gives the model that answered before, if any.

    The future raises InputError when no such model is registered.
    """

    def work(connection: duckdb.DuckDBPyConnection) -> str | None:
        found = connection.execute(
            "SELECT predictor FROM model WHERE model_id = ?", [model_id]
        ).fetchall()
        if not found:
            raise InputError(
                f"no model '{model_id}'", hint="servescope predictors list shows all of them"
            )
        before = connection.execute(
            "SELECT arg_max(model_id, promoted_at) FROM promotion WHERE predictor = ?",
            [found[0][0]],
        ).fetchall()[0][0]
        if before != model_id:
            connection.execute(
                "INSERT INTO promotion VALUES (?, ?, ?, ?, ?)",
                [found[0][0], model_id, _naive(at), by, reason],
            )
        return None if before is None else str(before)

    return writer.run(work)


def champions(reader: Reader) -> dict[str, str]:
    """Predictor -> the model that answers."""
    frame = reader.frame(
        "SELECT predictor, arg_max(model_id, promoted_at) AS model_id FROM promotion GROUP BY 1"
    )
    return dict(frame.iter_rows())


def scored(reader: Reader, metric: str) -> set[str]:
    """Models that have a score of that metric."""
    frame = reader.frame("SELECT DISTINCT model_id FROM evaluation WHERE metric = $m", m=metric)
    return set(frame["model_id"])


def listed(reader: Reader, predictor: str | None = None) -> pl.DataFrame:
    """All models, newest first, with `is_champion` and their scores.

    Columns: predictor, model_id, trained_at, data_until, is_champion, rows, pinball,
    baseline_pinball, skill_ratio, coverage_q90, n.
    """
    return reader.frame(_LISTED, predictor=predictor)


_LISTED = """
WITH champion AS (
  SELECT predictor, arg_max(model_id, promoted_at) AS model_id FROM promotion GROUP BY 1),
scores AS (
  SELECT model_id,
         max(value) FILTER (metric = 'pinball') AS pinball,
         max(baseline_value) FILTER (metric = 'pinball') AS baseline_pinball,
         max(value) FILTER (metric = 'coverage_q90') AS coverage_q90,
         max(n) AS n
  FROM evaluation GROUP BY 1)
SELECT m.predictor, m.model_id, m.trained_at, m.data_until, c.model_id IS NOT NULL AS is_champion,
       (m.manifest ->> '$.rows')::BIGINT AS rows, s.pinball, s.baseline_pinball,
       CASE WHEN s.baseline_pinball > 0 THEN 1 - s.pinball / s.baseline_pinball END AS skill_ratio,
       s.coverage_q90, s.n
FROM model AS m
LEFT JOIN champion AS c ON c.predictor = m.predictor AND c.model_id = m.model_id
LEFT JOIN scores AS s ON s.model_id = m.model_id
WHERE $predictor IS NULL OR m.predictor = $predictor
ORDER BY m.predictor, m.trained_at DESC, m.model_id
"""


def _naive(at: datetime) -> datetime:
    return at.replace(tzinfo=None)
