"""Features of a client that comes and goes: its recent windows, its gaps, its seasons.

Time is cut into windows of equal length. A window is busy when the client asked for anything in it.
What is asked is whether the next one will be.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.base import AT, OUTCOME, Feature, Spec
from predictors.distribution import Floats
from store.errors import PredictorError

CLIENT, MODEL, RATE = "client", "model", "rate_per_second"
WINDOW_SECONDS = 600
_HOUR = 3600 // WINDOW_SECONDS
_DAY = 24 * _HOUR
LAGS = tuple(range(12))
SEASONS = (12, 18, 24, 36, 48, 72, _DAY - 1, _DAY, _DAY + 1, 2 * _DAY, 3 * _DAY, 7 * _DAY)
RATE_LAGS = (0, 1, 2, 5, _DAY - 1)
SPANS = (3, 6, 18, 36, 72, _DAY, 3 * _DAY, 7 * _DAY)
RATE_SPANS = (6, 36, _DAY)
PHASES = ((_HOUR, 24), (_HOUR, 6), (18, 8), (36, 8), (72, 6), (_DAY, 3), (_DAY, 7))
_RUNS = (
    "idle_windows", "busy_windows", "gap_median_log", "gap_last_log", "gap_most_log",
    "stay_median_log", "turn_share", "turn_share_near", "gaps_seen", "gap_over_median_log",
)  # fmt: skip
FEATURES = (
    *(f"busy_{lag}_ago" for lag in LAGS),
    *(f"busy_season_{season}" for season in SEASONS),
    *(f"rate_log_{lag}_ago" for lag in RATE_LAGS),
    *(f"busy_share_{span}" for span in SPANS),
    *(f"rate_log_mean_{span}" for span in RATE_SPANS),
    *_RUNS,
    *(f"busy_phase_{period}_{times}" for period, times in PHASES),
    "busy_time_of_day",
    "fleet_busy_share",
    "fleet_busy_change",
)
REMEMBERED_GAPS = 60

SPEC = Spec(
    name="cold-start-busy",
    quantity="is_busy",
    unit="ratio",
    features=tuple(Feature(name, "number") for name in FEATURES),
    keys=(MODEL, CLIENT),
    lower=0.0,
    upper=1.0,
    is_log=False,
    horizon_seconds=float(WINDOW_SECONDS),
    rival="keep-alive",
)


def with_activity(windows: pl.DataFrame, ahead: int = 1) -> pl.DataFrame:
    """One row a client and window: features from it and earlier ones, and what came next.

    Args:
        windows: `model`, `client`, `at` (start of the window, naive UTC), `rate_per_second`; all
            clients of a model cover the same windows, missing ones count as idle.
        ahead: the outcome is 1 when any of so many next windows is busy.

    Returns:
        `model`, `client`, `at` (the end of the window: when the question is asked), `FEATURES`,
        `outcome` (null for the last windows, whose future is not known).

    Raises:
        PredictorError: a column is missing.
    """
    for name in (MODEL, CLIENT, AT, RATE):
        if name not in windows.columns:
            raise PredictorError(f"windows need the column {name!r}")
    parts = [_of_model(part, ahead) for _, part in windows.group_by([MODEL], maintain_order=True)]
    return pl.concat(parts) if parts else pl.DataFrame()


def _of_model(windows: pl.DataFrame, ahead: int) -> pl.DataFrame:
    wide = _regular(windows.pivot(on=CLIENT, index=AT, values=RATE, aggregate_function="sum"))
    clients = [name for name in wide.columns if name != AT]
    rates = wide.select(clients).fill_null(0.0).to_numpy().astype(np.float64)
    made = described(rates)
    outcome = _outcome(rates > 0, ahead)
    asked_at = wide[AT].dt.offset_by(f"{WINDOW_SECONDS}s")
    return pl.concat(
        pl.DataFrame(made[:, number], schema=dict.fromkeys(FEATURES, pl.Float64)).with_columns(
            windows[MODEL][:1].new_from_index(0, len(asked_at)).alias(MODEL),
            pl.lit(client).alias(CLIENT),
            asked_at.alias(AT),
            pl.Series(OUTCOME, outcome[:, number]).fill_nan(None),
        )
        for number, client in enumerate(clients)
    )


def _regular(wide: pl.DataFrame) -> pl.DataFrame:
    """Every window once: what nobody reported was idle, also when the clock jumped."""
    wide = wide.sort(AT).with_columns(pl.col(AT).dt.truncate(f"{WINDOW_SECONDS}s"))
    wide = wide.group_by(AT, maintain_order=True).sum()
    return wide.upsample(AT, every=f"{WINDOW_SECONDS}s")


def described(rates: Floats) -> Floats:
    """(windows, clients, features) of (windows, clients) rates."""
    busy = (rates > 0).astype(np.float64)
    logs = np.log1p(rates * WINDOW_SECONDS)
    columns = [_ago(busy, lag) for lag in LAGS]
    columns += [_ago(busy, season - 1) for season in SEASONS]
    columns += [_ago(logs, lag) for lag in RATE_LAGS]
    columns += [_recent(busy, span) for span in SPANS]
    columns += [_recent(logs, span) for span in RATE_SPANS]
    columns += list(np.moveaxis(_runs(busy), 2, 0))
    columns += [_phase(busy, period, times) for period, times in PHASES]
    columns.append(_time_of_day(busy))
    fleet = busy.mean(axis=1, keepdims=True)
    change = np.diff(fleet, axis=0, prepend=fleet[:1])
    columns += [np.broadcast_to(some, busy.shape) for some in (fleet, change)]
    return np.stack(columns, axis=2)


def _outcome(busy: npt.NDArray[np.bool_], ahead: int) -> Floats:
    made = np.full(busy.shape, np.nan)
    last = len(busy) - ahead
    if last > 0:
        made[:last] = np.max([busy[step : last + step] for step in range(1, ahead + 1)], axis=0)
    return made


def _ago(values: Floats, windows: int) -> Floats:
    made = np.full(values.shape, np.nan)
    if windows < len(values):
        made[windows:] = values[: len(values) - windows]
    return made


def _recent(values: Floats, span: int) -> Floats:
    total = np.vstack([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    end = np.arange(1, len(values) + 1)
    begin = np.maximum(end - span, 0)
    return np.asarray((total[end] - total[begin]) / (end - begin)[:, None], np.float64)


def _phase(busy: Floats, period: int, times: int) -> Floats:
    """How often the window that comes next was busy so many periods before it."""
    known = [_ago(busy, period * back - 1) for back in range(1, times + 1)]
    return _mean_known(known, [1.0] * times)


def _time_of_day(busy: Floats) -> Floats:
    steps = [(day, shift) for day in range(1, 8) for shift in range(-3, 4)]
    known = [_ago(busy, day * _DAY - 1 + shift) for day, shift in steps]
    return _mean_known(known, [float(np.exp(-(shift**2) / 4)) for _, shift in steps])


def _mean_known(parts: list[Floats], weights: list[float]) -> Floats:
    total, weight = np.zeros_like(parts[0]), np.zeros_like(parts[0])
    for part, share in zip(parts, weights, strict=True):
        there = np.isfinite(part)
        total[there] += share * part[there]
        weight += share * there
    return np.where(weight > 0, total / np.maximum(weight, 1e-9), np.nan)


def _runs(busy: Floats) -> Floats:
    made = np.full((*busy.shape, len(_RUNS)), np.nan)
    for client in range(busy.shape[1]):
        made[:, client] = _runs_of(busy[:, client].astype(bool).tolist())
    return made


def _runs_of(busy: list[bool]) -> Floats:
    made = np.full((len(busy), len(_RUNS)), np.nan)
    seen: dict[bool, Floats] = {False: np.zeros(0), True: np.zeros(0)}
    newest, gaps, run, before = np.nan, 0, 0, None
    for number, now in enumerate(busy):
        if now != before:
            # The first run began before the record did, so its length is not known.
            if before is not None and run < number:
                seen[before] = np.append(seen[before], run)[-REMEMBERED_GAPS:]
                if not before:
                    newest, gaps = float(run), gaps + 1
            before, run = now, 0
        run += 1
        made[number] = _run_row(now, run, seen, newest, gaps)
    return made


def _run_row(
    now: bool, run: int, seen: dict[bool, Floats], newest: float, gaps: int
) -> list[float]:
    idle, stays = seen[False], seen[True]
    middle = float(np.log(np.median(idle))) if len(idle) else np.nan
    share, near = _turns(seen[now], run)
    return [
        0.0 if now else float(run), float(run) if now else 0.0, middle,
        float(np.log(newest)), float(np.log(idle.max())) if len(idle) else np.nan,
        float(np.log(np.median(stays))) if len(stays) else np.nan, share, near, float(gaps),
        np.nan if now else float(np.log(run)) - middle,
    ]  # fmt: skip


def _turns(lengths: Floats, run: int) -> tuple[float, float]:
    """Share of earlier runs, at least this long, that ended right now; and about now."""
    if not len(lengths):
        return np.nan, np.nan
    longer = int((lengths >= run).sum())
    near = int((np.abs(lengths - run) <= 1).sum())
    return (int((lengths == run).sum()) + 0.3) / (longer + 1.5), (near + 0.3) / (3 * longer + 2)
