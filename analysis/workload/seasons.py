"""The rhythm of the day and the week, and whether there is one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.workload.arrivals import MICROSECONDS, Stamps
from analysis.workload.rate_bins import covered_seconds

_HOUR_SECONDS = 3600
_HOUR_US = _HOUR_SECONDS * MICROSECONDS
_DAY_HOURS = 24
# A daily rhythm cannot be told from a trend before it has been seen twice.
FEWEST_DAYS = 2
_THURSDAY = 3  # 1970-01-01 was one
WEEKLY_SCHEMA = {"weekday": pl.Int32, "hour": pl.Int32, "requests_per_second": pl.Float64}
DIURNAL_SCHEMA = {"hour": pl.Int32, "requests_per_second": pl.Float64}


@dataclass(frozen=True, slots=True)
class DailyRhythm:
    """A day's shape as two harmonics (24 h and 12 h) fitted to hourly rates.

    Attributes:
        peak_to_mean_ratio: highest ÷ mean of the fitted day.
        peak_hour: hour of the fitted peak, 0 to 23.
        explained_ratio: share of the variance of hourly rates that the fit explains (R²), 0 to 1.
        days: length of the record in days.
    """

    peak_to_mean_ratio: float
    peak_hour: int
    explained_ratio: float
    days: float


@dataclass(frozen=True, slots=True)
class HourlyRates:
    """Requests per hour of the record, as far as it covers each hour.

    Attributes:
        hours: hours since 1970, consecutive.
        requests: requests in each.
        seconds: how much of each hour lies between first and last arrival.
    """

    hours: Stamps
    requests: Stamps
    seconds: np.typing.NDArray[np.float64]


def hourly(stamps: Stamps) -> HourlyRates:
    """Requests per clock hour.

    Args:
        stamps: sorted microseconds.
    """
    if stamps.size == 0:
        return HourlyRates(stamps, stamps, np.empty(0))
    first, last = (int(at) // _HOUR_US for at in (stamps[0], stamps[-1]))
    requests = np.diff(np.searchsorted(stamps, np.arange(first, last + 2) * _HOUR_US))
    return hourly_rates(np.arange(first, last + 1), requests, int(stamps[0]), int(stamps[-1]))


def hourly_rates(hours: Stamps, requests: Stamps, first_us: int, last_us: int) -> HourlyRates:
    """The same of requests that are already counted.

    Args:
        hours: since 1970, ascending, from that of the first to that of the last arrival.
        requests: in each; hours that are left out have none.
        first_us: first arrival, microseconds since 1970.
        last_us: last arrival.
    """
    every = np.arange(hours[0], hours[-1] + 1)
    counts = np.zeros(every.size, dtype=np.int64)
    counts[hours - hours[0]] = requests
    ends = (at / MICROSECONDS for at in (first_us, last_us))
    return HourlyRates(every, counts, covered_seconds(every * _HOUR_SECONDS, _HOUR_SECONDS, *ends))


def weekly_frame(rates: HourlyRates, *, calendar: bool) -> pl.DataFrame:
    """weekday, hour, requests_per_second; only cells the record covers.

    Args:
        rates: from `hourly`.
        calendar: True when the clock knows the date (weekday 0 is Monday); False for a relative
            clock, whose weekday is the day of the trace modulo 7.
    """
    day, hour = rates.hours // _DAY_HOURS, rates.hours % _DAY_HOURS
    weekday = (day + _THURSDAY) % 7 if calendar else day % 7
    frame = pl.DataFrame(
        {
            "weekday": weekday.astype(np.int32),
            "hour": hour.astype(np.int32),
            "requests": rates.requests,
            "seconds": rates.seconds,
        }
    )
    return _pooled(frame, ["weekday", "hour"]).cast(WEEKLY_SCHEMA)  # type: ignore[arg-type]


def diurnal_frame(rates: HourlyRates) -> pl.DataFrame:
    """Hour (of the clock's day), requests_per_second; only hours the record covers."""
    frame = pl.DataFrame(
        {
            "hour": (rates.hours % _DAY_HOURS).astype(np.int32),
            "requests": rates.requests,
            "seconds": rates.seconds,
        }
    )
    return _pooled(frame, ["hour"]).cast(DIURNAL_SCHEMA)  # type: ignore[arg-type]


def _pooled(frame: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Requests ÷ covered seconds over all hours of a cell; cells under a minute say nothing."""
    return (
        frame.group_by(keys)
        .agg(pl.col("requests").sum(), pl.col("seconds").sum())
        .filter(pl.col("seconds") >= 60)
        .sort(keys)
        .select(*keys, (pl.col("requests") / pl.col("seconds")).alias("requests_per_second"))
    )


def daily_rhythm(rates: HourlyRates) -> DailyRhythm | None:
    """Fit the day's shape; None when the record covers less than two days."""
    covered = float(rates.seconds.sum())
    if covered < FEWEST_DAYS * 86_400:
        return None
    whole = rates.seconds >= 0.99 * _HOUR_SECONDS
    return fit_day(rates.hours[whole], rates.requests[whole] / _HOUR_SECONDS, covered / 86_400)


def fit_day(hours: Stamps, per_second: np.typing.NDArray[np.float64], days: float) -> DailyRhythm:
    """Least squares of hourly rates on a constant and the 24-h and 12-h harmonics.

    Args:
        hours: hour numbers since any midnight.
        per_second: mean rate in each.
        days: length of the record, reported as it is.
    """
    coefficients, *_ = np.linalg.lstsq(_harmonics(hours), per_second, rcond=None)
    fitted = _harmonics(hours) @ coefficients
    total = float(np.sum((per_second - per_second.mean()) ** 2))
    explained = 1 - float(np.sum((per_second - fitted) ** 2)) / total if total > 0 else 0.0
    shape = _harmonics(np.arange(_DAY_HOURS)) @ coefficients
    mean = float(shape.mean())
    peak = float(shape.max()) / mean if mean > 0 else 1.0
    return DailyRhythm(peak, int(shape.argmax()), max(0.0, explained), days)


def _harmonics(hours: Stamps) -> np.typing.NDArray[np.float64]:
    angle = 2 * np.pi * (hours % _DAY_HOURS) / _DAY_HOURS
    columns = (np.ones(hours.size), np.cos(angle), np.sin(angle))
    return np.column_stack((*columns, np.cos(2 * angle), np.sin(2 * angle)))
