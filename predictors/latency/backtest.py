"""The latency predictors and their rivals on loads they never saw."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from predictors.backtest import Cell, Told, cells_of
from predictors.base import OUTCOME, Prediction, Predictor
from predictors.distribution import Floats, Quantiles
from predictors.latency import rivals, sets
from predictors.latency.features import GENERATED, LEFT, PHYSICS_KEYS, state_of
from predictors.latency.fleet import physics_keys
from predictors.latency.model import TpotModel, TtftModel
from predictors.latency.replay import with_outcome
from predictors.latency.serving import in_service
from predictors.latency.total import E2eModel
from predictors.scoring import score
from store.errors import PredictorError

_RIVAL_NAMES = {
    "ridge_log": "ridge log",
    "boosted": "boosted quantiles",
    "ridge_boosted": "ridge log + boosted",
    "forest": "random forest",
}
METRICS = ("mae", "median_ape", "pinball", "coverage_q90", "coverage_80", "kendall_tau")
_NAMES = {"mae": "mae_seconds", "pinball": "pinball_seconds"}
OURS = "ours, in service"
RAW = "ours, raw"
# What only a router knows that sends the requests itself.
_ROUTER_ONLY = (
    *("requests_running", "requests_waiting", "tokens_waiting", "context_tokens"),
    *("oldest_wait_seconds", "last_ttft_seconds", "arrivals_per_second"),
    *("first_tokens_per_second", GENERATED, LEFT),
)
_QUANTITIES: dict[str, Callable[[int], Predictor]] = {
    "ttft_seconds": TtftModel,
    "tpot_seconds": TpotModel,
    "e2e_seconds": E2eModel,
}
# Of answers of a few tokens the pace cannot be told from the clock's noise.
_LEAST_PACED_TOKENS = 16
FEW_REQUESTS = 20

Split = tuple[pl.DataFrame, pl.DataFrame]


@dataclass(frozen=True, slots=True)
class _Method:
    name: str
    # Rivals are read back for a spec, so they are no Predictor to the letter.
    make: Callable[[], Any]
    is_rival: bool
    drop: tuple[str, ...] = ()


def backtest(data: Path, seed: int, quick: bool, told: Told) -> Iterator[Cell]:
    """Cells as they are done.

    Args:
        data: the folder of data sets.
        seed: of everything random.
        quick: fewer loads and rivals, for a look.
        told: what is missing is said here.
    """
    if (gap := sets.missing(data, sets.VLLM_LOGS, "requests.parquet", "engine.parquet")) is None:
        yield from _vllm_logs(data, seed, quick)
    else:
        told(gap)
    if (gap := sets.missing(data, sets.DISTSERVE, "requests.parquet")) is None:
        yield from _distserve(data, seed, quick)
    else:
        told(gap)


def interpolation(rows: pl.DataFrame) -> Iterator[Split]:
    """Every second load to learn from, the others judged, always on other requests."""
    for mine in _halves(rows):
        for parity in (0, 1):
            is_mine = pl.col("event_id") % 2 == parity
            yield rows.filter(mine & is_mine), rows.filter(~mine & ~is_mine)


def extrapolation(rows: pl.DataFrame) -> Iterator[Split]:
    """The first half of the requests of every second load, the second half of the others."""
    middle = rows["event_id"].median()
    for mine in _halves(rows):
        is_early = pl.col("event_id") <= middle
        yield rows.filter(mine & is_early), rows.filter(~mine & ~is_early)


def _halves(rows: pl.DataFrame) -> Iterator[pl.Expr]:
    loads = rows["load"].unique().sort().to_list()
    if len(loads) < 2:
        raise PredictorError(
            f"{len(loads)} load cannot be parted into learnt and judged ones",
            hint="give a data set with at least two loads",
        )
    for start in (0, 1):
        yield pl.col("load").is_in(loads[start::2])


def _vllm_logs(data: Path, seed: int, quick: bool) -> Iterator[Cell]:
    rows = sets.vllm_logs(data)
    cases = (
        ("vLLM logs, unseen loads", interpolation, {"median_ape": 0.15, "coverage_q90": 0.88}),
        ("vLLM logs, unseen queues", extrapolation, {"mae": 5.0, "coverage_q90": 0.88}),
    )
    for case, split, targets in cases:
        for quantity, make in _QUANTITIES.items():
            if quick and quantity != "ttft_seconds":
                continue
            judged = _judged(rows, quantity)
            parts = list(split(judged))[: 2 if quick else None]
            methods = _methods(quantity, make, seed, quick)
            is_asked = quantity == "ttft_seconds"
            yield from _compared(case, quantity, parts, methods, seed, targets if is_asked else {})
    blind = list(interpolation(_judged(sets.vllm_logs(data, with_slots=False), "ttft_seconds")))
    for name, parts, drop in (
        ("batch limit unknown", blind, ()),
        ("gauges alone", list(interpolation(_judged(rows, "ttft_seconds"))), _ROUTER_ONLY),
    ):
        method = _Method(name, partial(TtftModel, seed), is_rival=False, drop=drop)
        yield from _compared(
            cases[0][0], "ttft_seconds", parts[: 1 if quick else None], [method], seed, {}
        )
    yield from _speed(rows, seed)


def _distserve(data: Path, seed: int, quick: bool) -> Iterator[Cell]:
    rows = sets.distserve(data)
    for quantity, make in _QUANTITIES.items():
        if quick and quantity != "ttft_seconds":
            continue
        judged = _judged(rows, quantity)
        # All runs replay the head of one list of requests: the runs are parted, not the rows.
        parts = [(judged.filter(mine), judged.filter(~mine)) for mine in _halves(judged)]
        methods = _methods(quantity, make, seed, quick)
        yield from _compared("DistServe, unseen rates", quantity, parts, methods, seed, {})
    yield from _few(_judged(rows, "ttft_seconds"), seed)


def _few(rows: pl.DataFrame, seed: int) -> Iterator[Cell]:
    """A new engine: its first requests at its lowest rate, judged at all higher ones."""
    slowest = pl.col("load") == rows["load"].min()
    learnt, judged = rows.filter(slowest).head(FEW_REQUESTS), rows.filter(~slowest)
    nameless = [pl.lit("").alias(name) for name in PHYSICS_KEYS]
    for name, parts in (
        ("card and model named", (learnt, judged)),
        ("card and model unknown", (learnt.with_columns(nameless), judged.with_columns(nameless))),
    ):
        methods = [
            _Method(f"{RAW}, {name}", partial(TtftModel, seed), is_rival=False),
            _Method("linear", partial(rivals.rival_of, "ttft_seconds", "linear"), is_rival=True),
            _Method("constant", partial(rivals.constant, "ttft_seconds"), is_rival=True),
        ]
        case = f"DistServe, first {FEW_REQUESTS} requests known"
        yield from _compared(
            case, "ttft_seconds", [parts], methods[: 3 if "named" in name else 1], seed, {}
        )


def _judged(rows: pl.DataFrame, quantity: str) -> pl.DataFrame:
    known = with_outcome(rows, quantity)
    paced = pl.col("output_tokens") > _LEAST_PACED_TOKENS
    return known.filter(paced) if quantity == "tpot_seconds" else known


def _methods(
    quantity: str, make: Callable[[int], Predictor], seed: int, quick: bool
) -> list[_Method]:
    kinds: tuple[rivals.Kind, ...] = ("linear", "boosted") if quick else rivals.KINDS
    made = [_Method("constant", partial(rivals.constant, quantity), is_rival=True)]
    for kind in kinds:
        rival = partial(rivals.rival_of, quantity, kind, seed)
        made.append(_Method(_RIVAL_NAMES.get(kind, kind), rival, is_rival=True))
    if quantity == "ttft_seconds":
        alone = partial(TtftModel, seed, with_residual=False)
        made.append(_Method("physics alone", alone, is_rival=True))
    return [*made, _Method(RAW, partial(make, seed), is_rival=False)]


def _compared(
    case: str,
    quantity: str,
    parts: list[Split],
    methods: list[_Method],
    seed: int,
    targets: dict[str, float],
) -> Iterator[Cell]:
    """Every method on the same rows, all splits of a case judged together."""
    case = f"{case}, {quantity}"
    real = np.concatenate([judged[OUTCOME].to_numpy() for _, judged in parts])
    made: dict[str, list[Prediction]] = {}
    for method in methods:
        begin = time.process_time()
        made[method.name] = [_answered(method, *part) for part in parts]
        seconds = time.process_time() - begin
        base = Cell("latency", case, method.name, "", 0.0, 0, seed, is_rival=method.is_rival)
        yield from _scored(base, made[method.name], real, seconds, {})
    if RAW in made and "linear" in made:
        begin = time.process_time()
        served = [
            in_service(judged, ours, rival, quantity)
            for (_, judged), ours, rival in zip(parts, made[RAW], made["linear"], strict=True)
        ]
        seconds = time.process_time() - begin
        base = Cell("latency", case, OURS, "", 0.0, 0, seed)
        yield from _scored(base, served, real, seconds, targets)


def _answered(method: _Method, learnt: pl.DataFrame, judged: pl.DataFrame) -> Prediction:
    predictor = method.make()
    predictor.fit(learnt.drop(method.drop, strict=False))
    made: Prediction = predictor.predict(judged.drop(method.drop, strict=False))
    return made


def _scored(
    base: Cell, made: list[Prediction], real: Floats, seconds: float, targets: dict[str, float]
) -> Iterator[Cell]:
    values = np.concatenate([one.quantiles.values for one in made])
    scores = score(Quantiles(made[0].quantiles.levels, values), real)
    begun = Cell(**{**asdict(base), "seconds": seconds})
    for cell in cells_of(scores, begun, METRICS, targets):
        # Asked is "at least": wider is not worse here.
        sense = "higher" if cell.metric == "coverage_q90" and cell.target else cell.sense
        name = _NAMES.get(cell.metric, cell.metric)
        yield Cell(**{**asdict(cell), "metric": name, "sense": sense})


def _speed(rows: pl.DataFrame, seed: int) -> Iterator[Cell]:
    """Processor time of asking about 100 busy candidates at once, best of many.

    The best, since what else runs on the machine only ever adds to it.
    """
    known = _judged(rows, "ttft_seconds")
    model = TtftModel(seed)
    model.fit(known)
    busy = known.filter(pl.col("requests_waiting") > 0)
    candidates = busy.gather_every(max(busy.height // 100, 1)).head(100)
    state, keys = state_of(model.spec.frame(candidates)), physics_keys(candidates)
    for method, ask in (
        ("from a frame", partial(model.predict, candidates)),
        ("from arrays", partial(model.answers, state, keys)),
    ):
        base = "latency", "100 candidates at once", method, "best_processor_ms", _best_ms(ask)
        yield Cell(*base, candidates.height, seed, target=2.0)


def _best_ms(ask: Callable[[], object]) -> float:
    times = []
    for _ in range(60):
        begin = time.process_time()
        ask()
        times.append((time.process_time() - begin) * 1e3)
    return min(times)
