"""Fills a store with a day of made-up requests, what was predicted of them, and forecasts.

Everything is invented; the shapes are those of real ones: lengths with a long tail, a day's swing
of demand, a predictor that is good, one that is no better than its rival and one that drifted.

    python tests/data/fill_predictions.py STORE.duckdb
"""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from store import backtests, models
from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_NORMAL = (-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645, 2.326)
MODELS = ("llama-3.3-70b", "qwen3-32b")
TENANTS = ("acme", "globex", "initech")
ROUTES = ("chat", "code")
INSTANCES = ("gpu-1:8000", "gpu-2:8000", "gpu-3:8000", "gpu-4:8000")
_WINDOW_SECONDS = 600
_HORIZONS = (600, 1200, 1800, 2400, 3000, 3600)


@dataclass(frozen=True, slots=True)
class Story:
    """What is told of one quantity.

    Attributes:
        quantity: column of the request.
        spread: width of the predicted distributions in logarithms; the true one is 1.
        noise: how far the medians lie off the truth, in logarithms.
        rival_noise: the same of the rival.
        drifts: whether the last third of the day is off.
    """

    quantity: str
    spread: float
    noise: float
    rival_noise: float
    drifts: bool = False


STORIES = (
    Story("output_tokens", 0.55, 0.55, 0.95),
    Story("ttft_seconds", 0.3, 0.3, 0.6),
    Story("tpot_seconds", 0.2, 0.55, 0.4),
    Story("e2e_seconds", 0.5, 0.5, 0.9, drifts=True),
)


def fill(database: Database, end: datetime, count: int = 6000, hours: int = 24) -> None:
    """Write everything.

    Args:
        database: empty.
        end: when the day ends (aware UTC).
        count: how many requests.
        hours: how long it is.
    """
    rng = np.random.default_rng(4)
    start = end.replace(tzinfo=None) - timedelta(hours=hours)
    rows = _requests(rng, start, count, hours)
    database.writer.append("request", rows).result()
    for story in STORIES:
        database.writer.append("prediction", _predictions(rng, rows, story)).result()
    for quantity in ("requests_per_second", "tokens_per_second"):
        database.writer.append("forecast", _demand(rng, rows, start, hours, quantity)).result()
    database.writer.append("forecast", _states(rng, end)).result()
    database.writer.append("event", _drift(end)).result()
    _registry(database, end)
    _backtests(rng, database, end)


def _backtests(rng, database: Database, end: datetime) -> None:
    """Demand that loses its lead with the horizon, and times to the first token without one."""
    first = end.replace(tzinfo=None) - timedelta(days=14)
    told = (
        ("latency-ttft", (None,), "s", "latency-ttft-linear"),
        ("demand-rate", _HORIZONS, "requests/s", "demand-rate-last-value"),
    )
    for number, (name, horizons, unit, rival_name) in enumerate(told):
        rows = []
        for window, horizon, block in itertools.product(range(1, 7), horizons, range(6)):
            at = first + timedelta(days=7 + 7 * (window - 1) / 6)
            hours = (horizon or 0) / 3600
            rival = (0.05 + 0.09 * math.sqrt(hours + 0.1)) * rng.lognormal(0, 0.15)
            ours = rival * (0.78 + 0.2 * hours) * rng.lognormal(0, 0.06)
            n = 24
            rows.append({
                "window": window, "learnt_until": at, "judged_until": at + timedelta(days=7 / 6),
                "learnt_rows": 4000 * window, "horizon_seconds": horizon, "block": block, "n": n,
                "loss": n * ours, "rival_loss": n * rival,
                "season_loss": None if horizon is None else n * 0.17 * rng.lognormal(0, 0.1),
                "absolute_error": 2.4 * n * ours, "rival_absolute_error": 2.4 * n * rival,
                "outcome_sum": 1.2 * n, "below_q90": int(rng.binomial(n, 0.89)),
                "inside_90": int(rng.binomial(n, 0.88)), "fallbacks": 0,
            })  # fmt: skip
        row = backtests.BacktestRow(
            f"backtest-{number}", name, end.replace(tzinfo=None) - timedelta(hours=30 - number),
            "cli", "live", first, end.replace(tzinfo=None), 24_000, 6, unit, rival_name, 212.0,
        )  # fmt: skip
        cells = pl.DataFrame(rows, infer_schema_length=None)
        cells = cells.with_columns(pl.col("horizon_seconds", "season_loss").cast(pl.Float64))
        backtests.add(database.writer, row, cells).result()


def _requests(rng, start: datetime, count: int, hours: int) -> pl.DataFrame:
    # More by day than by night: arrivals are drawn where a wave is high.
    at = rng.uniform(0, 1, 4 * count)
    kept = at[rng.uniform(0, 1, len(at)) < 0.55 - 0.45 * np.cos(2 * math.pi * at)][:count]
    at = np.sort(kept) * hours * 3600
    n = len(at)
    model, route = rng.integers(0, 2, n), rng.integers(0, 2, n)
    tokens = np.exp(rng.normal(5.0 + 0.5 * route, 1.0, n)).clip(1, 4096).astype(int)
    first = np.exp(rng.normal(-1.2 + 0.6 * model, 0.5, n))
    each = np.exp(rng.normal(-3.5 + 0.5 * model, 0.3, n))
    return pl.DataFrame(
        {
            "request_id": [f"made-up-{i}" for i in range(n)],
            "arrived_at": [start + timedelta(seconds=float(s)) for s in at],
            "status": ["failed" if i % 97 == 0 else "ok" for i in range(n)],
            "model": [MODELS[i] for i in model],
            "tenant": [TENANTS[min(2, i)] for i in rng.poisson(0.8, n)],
            "route": [ROUTES[i] for i in route],
            "instance": [INSTANCES[i] for i in rng.integers(0, len(INSTANCES), n)],
            "finish_reason": ["length" if t >= 2048 else "stop" for t in tokens],
            "input_tokens": np.exp(rng.normal(6, 1, n)).astype(int) + 1,
            "output_tokens": np.minimum(tokens, 2048),
            "ttft_seconds": first,
            "tpot_seconds": each,
            "e2e_seconds": first + each * tokens,
        }
    )


def _said(rng, middle, spread: float) -> list[list[float]]:
    logs = np.log(np.maximum(middle, 1e-3))[:, None] + spread * np.array(_NORMAL)
    return list(np.exp(logs))


def _predictions(rng, rows: pl.DataFrame, story: Story) -> pl.DataFrame:
    real = rows[story.quantity].cast(pl.Float64).to_numpy()
    n = len(real)
    late = np.arange(n) > 2 * n / 3
    shift = np.where(late & story.drifts, 0.9, 0.0)
    ours = real * np.exp(rng.normal(0, story.noise, n) + shift)
    rival = real * np.exp(rng.normal(0, story.rival_noise, n))
    keys = [[model, route] for model, route in zip(rows["model"], rows["route"], strict=True)]
    lost = (np.arange(n) % 11 == 0) | (late & story.drifts & (np.arange(n) % 2 == 0))
    theirs = _said(rng, rival, story.rival_noise)
    said = _said(rng, ours, story.spread)
    return rows.select("arrived_at", "request_id").with_columns(
        source_id=1,
        quantity=pl.lit(story.quantity),
        predicted_at=pl.col("arrived_at"),
        was_before=pl.Series(np.arange(n) % 3 > 0),
        key=pl.Series(keys),
        levels=pl.Series([list(LEVELS)] * n),
        predicted=pl.Series(
            [b if is_lost else a for a, b, is_lost in zip(said, theirs, lost, strict=True)]
        ),
        rival=pl.Series(theirs),
        model_id=pl.lit(f"{story.quantity.split('_')[0]}-1f3a9c"),
        rival_id=pl.lit("history-77ab01"),
        calibration=pl.Series(["calibrated" if i > n / 10 else "warming" for i in range(n)]),
        was_fallback=pl.Series(lost),
        features_age_seconds=1.5,
    )


def _demand(rng, rows: pl.DataFrame, start: datetime, hours: int, quantity: str) -> pl.DataFrame:
    weight = (
        pl.len()
        if quantity == "requests_per_second"
        else (pl.col("input_tokens") + pl.col("output_tokens")).sum()
    )
    windows = hours * 3600 // _WINDOW_SECONDS
    made = []
    for model in MODELS:
        of_model = rows.filter(pl.col("model") == model)
        for tenant in ("(all)", *TENANTS):
            part = of_model if tenant == "(all)" else of_model.filter(pl.col("tenant") == tenant)
            place = (pl.col("arrived_at") - start).dt.total_seconds() // _WINDOW_SECONDS
            found = dict(part.group_by(place.alias("w")).agg(v=weight).iter_rows())
            rate = np.array([found.get(w, 0) / _WINDOW_SECONDS for w in range(windows)])
            made += _forecasts(rng, rate, start, (model, tenant), quantity)
    return pl.DataFrame(made)


def _forecasts(rng, rate, start: datetime, key: tuple[str, str], quantity: str) -> list[dict]:
    smooth = np.convolve(rate, np.ones(5) / 5, mode="same")
    rows = []
    for window in range(6, len(rate) + 1):
        for horizon in _HORIZONS:
            ahead = window - 1 + horizon // _WINDOW_SECONDS
            near = smooth[min(ahead, len(smooth) - 1)]
            middle = max(near * math.exp(rng.normal(0, 0.08 + horizon / 20_000)), 1e-5)
            width = (0.25 + horizon / 12_000) * max(middle, 1e-4)
            rows.append(
                {
                    "source_id": 1,
                    "made_at": start + timedelta(seconds=window * _WINDOW_SECONDS),
                    "quantity": quantity,
                    "horizon_seconds": float(horizon),
                    "key": list(key),
                    "levels": list(LEVELS),
                    "predicted": [max(0.0, middle + width * z) for z in _NORMAL],
                    "rival": [max(0.0, rate[window - 1] + 1.6 * width * z) for z in _NORMAL],
                    "model_id": "demand-5be210",
                    "rival_id": "last-value",
                    "calibration": "calibrated",
                    "was_fallback": horizon == _HORIZONS[0] and window % 7 == 0,
                    "features_age_seconds": 12.0,
                }
            )
    return rows


def _states(rng, end: datetime) -> pl.DataFrame:
    rows = []
    for step in range(120):
        for number, instance in enumerate(INSTANCES):
            middle = (0.97, 0.95, 0.85, 0.97)[number]
            if number == 1 and step > 80:
                middle = 0.62
            middle = min(1.0, max(0.05, middle + rng.normal(0, 0.01)))
            width = (0.01, 0.05, 0.05, 0.01)[number]
            rows.append(
                {
                    "source_id": 1,
                    "made_at": end.replace(tzinfo=None) - timedelta(seconds=30 * (120 - step)),
                    "quantity": "performance_ratio",
                    "horizon_seconds": 0.0,
                    "key": [MODELS[0], instance],
                    "levels": list(LEVELS),
                    "predicted": [min(1.0, middle + width * z) for z in _NORMAL],
                    "rival": [min(1.0, 0.88 + 0.08 * z) for z in _NORMAL],
                    "model_id": "degradation-90cc1e",
                    "rival_id": "constant",
                    "calibration": "warming",
                    "was_fallback": number == 3,
                    "features_age_seconds": 2.0,
                }
            )
    return pl.DataFrame(rows)


def _drift(end: datetime) -> pl.DataFrame:
    at = end.replace(tzinfo=None) - timedelta(hours=3)
    return pl.DataFrame(
        {
            "event_id": ["drift-1"],
            "source_id": [1],
            "started_at": [at],
            "kind": ["predictor_drift"],
            "subject": ["latency-e2e"],
            "text": ["e2e_seconds: outcomes lie lower than before; intervals were widened by 1.5"],
        }
    )


def _registry(database: Database, end: datetime) -> None:
    made = (
        ("length-text-1f3a9c", "length-text", 66.1, 77.4, 0.897, 3),
        ("length-text-0aa017", "length-text", 68.8, 77.4, 0.921, 12),
        ("demand-rate-5be210", "demand-rate", 0.0741, 0.0952, 0.903, 1),
        ("latency-e2e-c01d55", "latency-e2e", 1.31, 1.29, 0.86, 2),
    )
    for model_id, predictor, loss, rival, covered, days in made:
        scores = (
            models.Evaluation("last fifth by time", "pinball", loss, rival, 1204),
            models.Evaluation("last fifth by time", "coverage_q90", covered, 0.88, 1204),
        )
        at = end - timedelta(days=days)
        row = models.ModelRow(
            model_id, predictor, at, at, "0" * 64, {"rows": 6020, "seconds": 41.0}, scores
        )
        models.add(database.writer, row).result()
    for model_id in (made[0][0], made[2][0]):
        models.promote(database.writer, model_id, end, "cli", "first model").result()


if __name__ == "__main__":
    with Database.open(Path(sys.argv[1]), StoreSettings(), WallClock()) as opened:
        fill(opened, datetime.now(UTC))  # noqa: TID251 - a script has no clock of its own
