"""Trains a predictor in a process of its own, and registers what comes of it.

    store --rows--> folder --worker process--> model, report --> registry

A model that beats its rival on rows it never saw becomes champion when there is none; otherwise it
is a challenger until somebody promotes it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import polars as pl

from predictors import catalog, worker
from servescope.training_process import LEAST_ROWS, TrainingSettings, work
from store import audit, models
from store.clock import Clock
from store.database import Database
from store.errors import InputError, PredictorError, ServescopeError
from store.queries.scope import Scope
from store.reader import Reader


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a training.

    Attributes:
        row: the model as registered.
        is_new: False when the same rows had made the same model before.
        became_champion: whether it answers from now on.
        why: one sentence: why it does, or why not.
    """

    row: models.ModelRow
    is_new: bool
    became_champion: bool
    why: str


def train(
    database: Database,
    clock: Clock,
    name: str,
    scope: Scope | None,
    *,
    rows: pl.DataFrame | None = None,
    by: str = "cli",
    settings: TrainingSettings | None = None,
    stop: Event | None = None,
) -> Trained:
    """Train `name`, register the model, and note who wished it.

    Args:
        database: the open store; it must be a file, since models lie beside it.
        clock: stamps.
        name: in the catalogue of predictors.
        scope: which rows of the store; not needed with `rows`.
        rows: what to learn from instead of the store's rows.
        by: who asked, for the record.
        settings: limits.
        stop: ends the training early once it is set.

    Raises:
        PredictorError: too few rows, the training failed, or it took too long.
    """
    limits = settings or TrainingSettings()
    entry = catalog.entry(name)
    if database.path is None:
        raise PredictorError("a store in memory keeps no models", hint="use a store file")
    if rows is None:
        if scope is None:
            raise PredictorError("training needs a time range or a file with rows")
        rows = entry.training_rows(database.reader, scope)
    if rows.height < LEAST_ROWS:
        raise PredictorError(
            f"{rows.height} finished rows are too few to train {name}",
            hint=f"at least {LEAST_ROWS} are needed: widen the range or wait for traffic",
        )
    rows = rows.tail(limits.most_rows)
    with tempfile.TemporaryDirectory(prefix="servescope-train-") as place:
        folder = Path(place)
        rows.write_parquet(folder / worker.ROWS)
        task = {"predictor": name}
        report = work(folder, f"training {name}", task, limits, stop or Event())
        row = _registered(database, clock, entry, rows, report, folder)
    is_new = models.add(database.writer, row).result()
    champion, why = _judged(database, clock, row, report, by)
    after = {"model_id": row.model_id, "is_champion": champion, "rows": row.manifest["rows"]}
    change = audit.Change(by, "predictors.train", name, None, after, by, why)
    audit.note(database.writer, clock.now(), change).result()
    return Trained(row, is_new, champion, why)


def _registered(
    database: Database,
    clock: Clock,
    entry: catalog.Entry,
    rows: pl.DataFrame,
    report: Mapping[str, Any],
    folder: Path,
) -> models.ModelRow:
    store = database.path
    if store is None:
        raise ServescopeError("a store in memory keeps no models")
    model_id = str(report["model_id"])
    kept = models.models_folder(store) / model_id
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_name(f"{kept.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(folder / worker.MODEL, draft)
        shutil.copytree(folder / f"{worker.MODEL}.rival", draft / "rival")
        draft.rename(kept)
    manifest = json.loads((kept / "manifest.json").read_text("utf-8"))
    newest = rows["at"].max() if "at" in rows.columns else None
    until = newest if isinstance(newest, datetime) else clock.now()
    return models.ModelRow(
        model_id=model_id,
        predictor=entry.name,
        trained_at=clock.now(),
        data_until=until if until.tzinfo else until.replace(tzinfo=UTC),
        artifact_hash=str(manifest["arrays_sha256"]),
        manifest={
            **{key: report[key] for key in ("rows", "held_out_rows", "seconds", "notes")},
            "rival_id": report["rival_id"],
            "features": [feature["name"] for feature in manifest["spec"]["features"]],
        },
        evaluations=_evaluations(report),
    )


def _evaluations(report: Mapping[str, Any]) -> list[models.Evaluation]:
    ours, rival = report["ours"], report["rival"] or {}
    if ours is None:
        return []
    return [
        models.Evaluation("held out", name, value, rival.get(name), int(ours["n"]))
        for name, value in ours.items()
        if name != "n"
    ]


def _judged(
    database: Database, clock: Clock, row: models.ModelRow, report: Mapping[str, Any], by: str
) -> tuple[bool, str]:
    ours, rival = report["ours"], report["rival"]
    champion = models.champions(database.reader).get(row.predictor)
    if champion == row.model_id:
        return True, "It is the champion already: the same rows make the same model."
    if ours is None or rival is None:
        return False, "Too few rows to judge it, so its rival goes on answering."
    loss, naive = ours["pinball"], rival["pinball"]
    told = f"pinball loss {loss:.4g} against {naive:.4g} of the naive rival on {ours['n']} rows"
    if loss >= naive:
        return False, f"It lost: {told}. The rival goes on answering."
    if champion is not None:
        return False, f"It is a challenger: {told}. `servescope predictors promote` lets it answer."
    models.promote(database.writer, row.model_id, clock.now(), by, "first model").result()
    return True, f"It answers from now on: {told}."


def trained_document(trained: Trained) -> dict[str, Any]:
    """What a training came to, for API and command line."""
    manifest = trained.row.manifest
    return {
        "model_id": trained.row.model_id,
        "predictor": trained.row.predictor,
        "is_new": trained.is_new,
        "is_champion": trained.became_champion,
        "why": trained.why,
        "rows": manifest["rows"],
        "held_out_rows": manifest["held_out_rows"],
        "seconds": manifest["seconds"],
        "notes": list(manifest["notes"]),
        "scores": [
            {"metric": one.metric, "value": one.value, "rival": one.baseline_value, "n": one.n}
            for one in trained.row.evaluations
        ],
    }


def predictors_document(reader: Reader | None) -> dict[str, Any]:
    """The catalogue and the registered models; without a store there are none."""
    known = [
        {"name": entry.name, "group": entry.group, "question": entry.question}
        for entry in catalog.PREDICTORS.values()
    ]
    found = [] if reader is None else models.listed(reader).to_dicts()
    return {"predictors": known, "models": found}


TRAIN_AGAIN = "train it again: servescope train; predict.keep_models says how many are kept"


def deleted(database: Database) -> frozenset[str]:
    """Models of which the files are gone, so that they cannot answer any more."""
    if database.path is None:
        return frozenset()
    folder = models.models_folder(database.path)
    known = models.listed(database.reader)["model_id"].to_list()
    return frozenset(one for one in known if not (folder / one).is_dir())


def promote(
    database: Database, clock: Clock, model_id: str, by: str, reason: str, origin: str
) -> dict[str, Any]:
    """Let a model answer, and note who wished it; says which one answered before.

    Args:
        database: the open store.
        clock: stamps.
        model_id: of the model.
        by: who wished it.
        reason: why, in their words.
        origin: through which door: "cli", "api", "dashboard".

    Raises:
        InputError: no such model, or its files are gone.
    """
    if model_id in deleted(database):
        raise InputError(f"the files of '{model_id}' were deleted", hint=TRAIN_AGAIN)
    before = models.promote(database.writer, model_id, clock.now(), by, reason).result()
    change = audit.Change(
        by,
        "predictors.promote",
        model_id,
        {"model_id": before} if before else None,
        {"model_id": model_id},
        origin,
        reason,
    )
    audit.note(database.writer, clock.now(), change).result()
    return {"model_id": model_id, "before": before}
