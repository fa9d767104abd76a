"""Predictions, forecasts, back-tests and models beside the requests of `big_store`.

As many and in the order in which a server writes them: four quantities of each request, by runs of
30 s; demand of each model and tenant every 5 min, the state of each instance every 30 s. What was
said is synthetic: wide round the truth, so that only sizes and shapes can be learnt from it.
"""

from __future__ import annotations

import shutil
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import big_store

from predictors import catalog
from store.append_predictions import TIERS, tier_table
from store.clock import WallClock
from store.database import Database
from store.retention import checkpoint
from store.settings import StoreSettings

LEVELS = "[0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99]::DOUBLE[]"
# The same of a standard normal distribution.
_DEVIATES = (-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645, 2.326)
MODELS_EACH, BACKTESTS_EACH = 20, 5
BACKTEST_WINDOWS, BACKTEST_BLOCKS = 10, 6


def _spread(middle: str, width: float) -> str:
    """Quantiles of a lognormal distribution, with six digits as the server keeps them."""
    parts = (f"{middle} * exp({width * z})" for z in _DEVIATES)
    return "[" + ", ".join(f"round({part}, 5)" for part in parts) + "]::DOUBLE[]"


# A deviate of each request and quantity, out of their hash.
_NOISE = "(hash(request_key, quantity) % 1999 / 999.0 - 1)"
_PREDICTIONS = f"""
INSERT INTO prediction BY NAME
WITH asked AS (
  SELECT r.source_id, r.arrived_at, r.request_key, l.model, l.route, l.instance,
    unnest(['output_tokens', 'ttft_seconds', 'tpot_seconds', 'e2e_seconds']) AS quantity,
    unnest([r.output_tokens::DOUBLE, r.ttft_seconds, r.tpot_seconds, r.e2e_seconds]) AS truth,
    r.arrived_at + to_microseconds((1e6 * r.e2e_seconds)::BIGINT) AS ended_at
  FROM request AS r JOIN request_labels AS l USING (labels_id)
  WHERE r.arrived_at >= $start AND r.arrived_at < $end AND r.status = 'ok'),
noisy AS (SELECT *, exp(0.6 * {_NOISE}) AS noise FROM asked WHERE truth IS NOT NULL)
SELECT source_id, arrived_at, request_key, quantity,
  time_bucket(INTERVAL 30 SECONDS, ended_at) + INTERVAL 30 SECONDS AS predicted_at,
  CASE WHEN quantity = 'output_tokens' THEN [model, route]
    ELSE [model, 'vllm', 'H100', instance] END AS key,
  {LEVELS} AS levels, {_spread("truth * noise", 0.5)} AS predicted,
  {_spread("(100 * (1 + hash(model, date_trunc('hour', arrived_at)) % 7))", 1.2)} AS rival,
  quantity || '-20261001-1' AS model_id, 'history-' || quantity AS rival_id,
  CASE WHEN hash(request_key) % 20 = 0 THEN 'warming up' ELSE 'calibrated' END AS calibration,
  quantity = 'tpot_seconds' AS was_fallback, FALSE AS was_before,
  CASE WHEN quantity <> 'output_tokens' THEN hash(request_key) % 15 END AS features_age_seconds
FROM noisy ORDER BY predicted_at, quantity, arrived_at
"""
_DEMAND = f"""
INSERT INTO forecast BY NAME
SELECT 1 AS source_id, made_at, quantity, [model, tenant] AS key, horizon_seconds,
  {LEVELS} AS levels, {_spread("(1 + hash(model, made_at) % 40 / 10.0) * scale", 0.3)} AS predicted,
  {_spread("(1 + hash(tenant, made_at) % 40 / 10.0) * scale", 0.4)} AS rival,
  'demand-20261001-1' AS model_id, 'seasonal' AS rival_id, 'calibrated' AS calibration,
  FALSE AS was_fallback, NULL AS features_age_seconds
FROM range($start, $end, INTERVAL 5 MINUTES) AS t(made_at),
  (VALUES ('requests_per_second', 1.0), ('tokens_per_second', 1500.0)) AS q(quantity, scale),
  (VALUES ('chat-70b'), ('code-34b')) AS m(model),
  (SELECT unnest(['(all)'] || list_transform(range(8), n -> 'tenant-' || n)) AS tenant),
  (SELECT 600.0 * unnest(range(1, 7)) AS horizon_seconds)
ORDER BY made_at, quantity, model, tenant, horizon_seconds
"""
_STATES = f"""
INSERT INTO forecast BY NAME
SELECT 1 AS source_id, made_at, 'performance_ratio' AS quantity,
  [part || '-model', part || '-' || number] AS key, horizon_seconds, {LEVELS} AS levels,
  {_spread("(0.6 + hash(number, made_at) % 40 / 100.0)", 0.05)} AS predicted,
  {_spread("0.95", 0.1)} AS rival, 'degradation-20261001-1' AS model_id, 'undisturbed' AS rival_id,
  'calibrated' AS calibration, FALSE AS was_fallback, 5.0 AS features_age_seconds
FROM range($start, $end, INTERVAL 30 SECONDS) AS t(made_at),
  (VALUES ('chat'), ('code')) AS p(part), range(4) AS i(number), (VALUES (0.0), (60.0))
    AS h(horizon_seconds)
ORDER BY made_at, horizon_seconds, part, number
"""
_RUNS = """
INSERT INTO job_run
SELECT 'predictions', made_at, 0.4, 'done', NULL,
  json_object('requests', 115, 'left_out', CASE WHEN hash(made_at) % 50 = 0 THEN 3 ELSE 0 END)
FROM range($start, $end, INTERVAL 30 SECONDS) AS t(made_at)
"""
_DRIFTS = """
INSERT INTO event
SELECT 'predictor_drift:' || made_at, 1, made_at, made_at, 'predictor_drift', 'latency-ttft',
  'ttft_seconds no longer comes out as it was learnt', NULL
FROM range($start, $end, INTERVAL 8 HOURS) AS t(made_at)
"""
_MODELS = """
INSERT INTO model
SELECT predictor || '-' || number, predictor, $end - to_days(number::INTEGER),
  $end - to_days(number::INTEGER) - INTERVAL 10 MINUTES, 'none', '{"rows": 200000}'
FROM (SELECT unnest($predictors) AS predictor), range($each) AS n(number)
"""
_PROMOTIONS = """
INSERT INTO promotion SELECT predictor, model_id, trained_at, 'schedule', 'better' FROM model
WHERE model_id LIKE '%-3'
"""
_SCORES = """
INSERT INTO evaluation
SELECT model_id, trained_at, 'last fifth by time', metric, 0.8, 1.0, 40000
FROM model, (VALUES ('pinball'), ('coverage_q90'), ('mae'), ('rank_correlation')) AS m(metric)
"""
_BACKTESTS = """
INSERT INTO backtest
SELECT predictor || '-' || number, predictor, $end - to_hours(number::INTEGER), 'cli', 'live',
  $end - INTERVAL 7 DAYS, $end, 500000, $windows, 's', 'history', 60.0
FROM (SELECT unnest($predictors) AS predictor), range($each) AS n(number)
"""
_CELLS = """
INSERT INTO backtest_cell
SELECT backtest_id, w, data_until - to_hours((100 - w)::INTEGER),
  data_until - to_hours((99 - w)::INTEGER), 10000 * w,
  CASE WHEN predictor LIKE 'demand%' THEN 600.0 * (h + 1) END, block, 2000,
  2000 * (0.5 + hash(backtest_id, w, block) % 100 / 400.0), 1500, NULL, 900, 1300, 20000, 1790,
  1810, 0
FROM backtest, range(1, $windows + 1) AS a(w), range($blocks) AS b(block), range(6) AS c(h)
WHERE h = 0 OR predictor LIKE 'demand%'
"""


def build(folder: Path, rows: int) -> Path:
    """The store in `folder`, made on first use beside the one without predictions; its path."""
    path = folder / f"predicted-{rows}.duckdb"
    if path.exists():
        return path
    draft = folder / f"draft-predicted-{rows}.duckdb"
    shutil.copyfile(big_store.build(folder, rows), draft)
    began = time.perf_counter()
    with Database.open(draft, StoreSettings(), WallClock()) as database:
        end = big_store.END.replace(tzinfo=None)
        start = end - timedelta(days=big_store.DAYS)
        for day in range(big_store.DAYS):
            first = start + timedelta(days=day)
            _write(database, _PREDICTIONS, start=first, end=first + timedelta(days=1))
        for one_in in TIERS:
            kept = f"SELECT * FROM prediction WHERE request_key % {one_in} = 0"
            _write(database, f"INSERT INTO {tier_table(one_in)} BY NAME {kept}")
        _write_rest(database, start, end)
        checkpoint(database.writer)
        found = database.reader.scalar("SELECT count(*) FROM prediction")
    print(f"# {found:,} predictions written in {time.perf_counter() - began:.0f} s", flush=True)
    draft.rename(path)
    return path


def _write_rest(database: Database, start: datetime, end: datetime) -> None:
    for sql in (_DEMAND, _STATES, _RUNS, _DRIFTS):
        _write(database, sql, start=start, end=end)
    names = list(catalog.PREDICTORS)
    _write(database, _MODELS, end=end, predictors=names, each=MODELS_EACH)
    _write(database, _PROMOTIONS)
    _write(database, _SCORES)
    of_all = {"predictors": names, "each": BACKTESTS_EACH, "windows": BACKTEST_WINDOWS}
    _write(database, _BACKTESTS, end=end, **of_all)
    _write(database, _CELLS, windows=BACKTEST_WINDOWS, blocks=BACKTEST_BLOCKS)


def _write(database: Database, sql: str, **values: Any) -> None:
    database.writer.run(lambda con: con.execute(sql, values)).result()
