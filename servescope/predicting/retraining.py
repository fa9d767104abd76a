"""When models are trained again, which of them answers, and which files go."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from predictors import catalog
from predictors.settings import PredictSettings
from store import models
from store.queries import predictor_rows
from store.reader import Reader

LEARNT_FROM = timedelta(days=14)
"""What a scheduled training learns from."""
AFTER_DRIFT = timedelta(hours=1)
"""After drift a model is trained again once it is this old."""
TRIED_AGAIN = timedelta(hours=6)
"""A training that failed or was refused is tried again after this long."""


def due(
    reader: Reader,
    settings: PredictSettings,
    now: datetime,
    tried: Mapping[str, datetime],
    drifted: Mapping[str, datetime],
) -> str | None:
    """The predictor that most needs a training now; None when none does.

    Args:
        reader: the store.
        settings: age and rows.
        now: naive UTC.
        tried: predictor -> when a scheduled training of it last began.
        drifted: predictor -> when its world last moved.
    """
    count = predictor_rows.live_count(reader, now - LEARNT_FROM)
    if count < settings.retrain_least_rows:
        return None
    newest = _newest(models.listed(reader))
    waiting = []
    for name, entry in catalog.PREDICTORS.items():
        if not entry.rows or now - tried.get(name, datetime.min) < TRIED_AGAIN:  # noqa: DTZ901 - naive
            continue
        trained_at = newest.get(name)
        has_moved = trained_at is not None and drifted.get(name, trained_at) > trained_at
        least = AFTER_DRIFT if has_moved else timedelta(hours=settings.retrain_hours)
        if trained_at is None or now - trained_at >= least:
            waiting.append((trained_at or datetime.min, name))  # noqa: DTZ901 - naive
    return min(waiting)[1] if waiting else None


def superfluous(reader: Reader, folder: Path, keep: int) -> list[Path]:
    """Folders of models that are neither champions nor among the newest of their predictor.

    Args:
        reader: the store.
        folder: where the models lie.
        keep: newest models of each predictor that stay.
    """
    if not folder.is_dir():
        return []
    ordered = models.listed(reader).sort("trained_at", descending=True)
    kept = set(ordered.group_by("predictor").head(keep)["model_id"])
    kept |= set(models.champions(reader).values())
    known = set(ordered["model_id"]) - kept
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name in known)


def forget_files(reader: Reader, store: Path, keep: int) -> int:
    """Delete what `superfluous` names; gives how many models lost their files."""
    gone = superfluous(reader, models.models_folder(store), keep)
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    return len(gone)


def _newest(listed: pl.DataFrame) -> dict[str, datetime]:
    found = listed.group_by("predictor").agg(pl.col("trained_at").max())
    return dict(found.iter_rows())
