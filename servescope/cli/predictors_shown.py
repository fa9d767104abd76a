"""`servescope predictors show`: can the predictions be trusted?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from servescope.cli import access
from servescope.cli.backtesting import COLUMNS as BACKTEST_COLUMNS
from servescope.cli.data import configured
from servescope.cli.output import Output
from servescope.documents import frame_rows

_VIEWS = (
    "predictors", "predictors_inputs", "predictors_forecast", "degradation_now",
    "predictors_backtest", "predictors_models",
)  # fmt: skip
_TABLES: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "predictors": (
        "requests",
        "quantities",
        {
            "quantity": "quantity",
            "than its rival": "verdict",
            "skill": "skill_ratio",
            "low": "skill_low",
            "high": "skill_high",
            "outcomes": "outcomes",
            "below q90": "coverage_q90_ratio",
            "mean error": "mae",
            "rank corr.": "rank_correlation",
            "by the rival": "fallback_ratio",
            "said before": "before_ratio",
        },
    ),
    "predictors_inputs": (
        "requests beside those that were learnt from",
        "inputs",
        {
            "feature": "feature",
            "": "verdict",
            "distance": "distance",
            "by chance": "by_chance",
            "requests now": "requests_now",
            "then": "requests_then",
        },
    ),
    "predictors_forecast": (
        "demand",
        "horizons",
        {
            "quantity": "quantity",
            "ahead s": "horizon_seconds",
            "skill": "skill_ratio",
            "outcomes": "outcomes",
            "inside 50 %": "coverage_50_ratio",
            "inside 90 %": "coverage_90_ratio",
            "mean error": "wmape_ratio",
            "rival's": "rival_wmape_ratio",
            "by the rival": "fallback_ratio",
        },
    ),
    "degradation_now": (
        "instances",
        "instances",
        {
            "instance": "instance",
            "state": "state",
            "performance": "performance_ratio",
            "q05": "q05_ratio",
            "q95": "q95_ratio",
            "by the rival": "was_fallback",
            "estimated": "made_at",
        },
    ),
    "predictors_backtest": ("back-test", "horizons", BACKTEST_COLUMNS),
    "predictors_models": (
        "models",
        "models",
        {
            "state": "state",
            "predictor": "predictor",
            "model": "model_id",
            "learnt until": "data_until",
            "loss": "pinball",
            "rival's loss": "baseline_pinball",
            "skill": "skill_ratio",
            "below q90": "coverage_q90",
            "judged on": "n",
        },
    ),
}


def run_show(
    params: Mapping[str, str], store: Path | None, config_file: Path | None, *, as_json: bool
) -> None:
    """Print skill, calibration, forecasts, instances and models: what the page shows."""
    out = Output(as_json=as_json)
    with access.opened(configured(store, config_file)) as way:
        views = {name: way.view(name, params) for name in _VIEWS}
    out.document("predictors.show", views)
    for name in _VIEWS:
        _print(out, name, views[name])


def _print(out: Output, name: str, view: Mapping[str, Any]) -> None:
    title, frame, columns = _TABLES[name]
    out.line(title)
    if view.get("empty"):
        out.line(f"  {view['empty']['text']}")
    for sentence in view["sentences"]:
        out.line(f"  {sentence}")
    rows = [] if view.get("empty") else frame_rows(view, frame)
    if rows:
        out.line()
        out.table(list(columns), [[row.get(key) for key in columns.values()] for row in rows])
    out.line()
