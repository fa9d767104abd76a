"""Which models answer: champions, challengers, and what is missing for better ones."""

from __future__ import annotations

from importlib.util import find_spec

import polars as pl

from analysis.measure import Measure, View
from store import models
from store.queries import predictions as queries
from store.queries.scope import Scope
from store.reader import Reader

# What `servescope[predict]` brings, and what a server without it does.
EXTRA_MODULES = ("torch", "sklearn")
_NO_EXTRA = (
    "This server has no {names}, so it answers by histograms of what was seen before. "
    "Install the rest with pip install 'servescope[predict]'."
)
_NO_MODEL = (
    "No model is trained yet: the naive rivals answer. To train one: servescope train NAME "
    "(the names: servescope predictors list)."
)
_STATES = ("champion", "challenger")


def predictors_models(reader: Reader, scope: Scope) -> View:
    """The registry of models and their scores on rows they never saw.

    Measures: models, champions, extra_missing (how many libraries of the extra are not there).
    Frames: `models` (as `store.models.listed`, champions first, with `state`: champion or
    challenger), `scores`.
    """
    found = models.listed(reader).with_columns(
        state=pl.when("is_champion").then(pl.lit(_STATES[0])).otherwise(pl.lit(_STATES[1]))
    )
    # A page shows the first of many: who answers is among them.
    found = found.sort("is_champion", descending=True, maintain_order=True)
    missing = missing_modules()
    champions = int(found["is_champion"].sum())
    measures = {
        "models": Measure(float(found.height), ""),
        "champions": Measure(float(champions), ""),
        "extra_missing": Measure(float(len(missing)), ""),
    }
    sentences = []
    if missing:
        sentences.append(_NO_EXTRA.format(names=" and no ".join(missing)))
    if found.is_empty():
        sentences.append(_NO_MODEL)
    elif not champions:
        sentences.append(
            "No model is champion: each lost to its naive rival on rows it never saw, or was never "
            "promoted. The rivals answer."
        )
    frames = {"models": found, "scores": queries.scores(reader)}
    return View("predictors_models", scope, measures, frames, tuple(sentences))


def missing_modules() -> tuple[str, ...]:
    """Libraries of the extra that this process could not import; nothing is imported."""
    return tuple(name for name in EXTRA_MODULES if find_spec(name) is None)
