"""Counts of one SLO -> the tables behind its charts. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis import series
from analysis.burn import AlertRule, unreachable_why
from analysis.slo import SloStatus, rule_state
from analysis.slo_counts import Counted
from analysis.slo_model import Slo, short_window
from analysis.slo_window import window_of
from store.queries.log_bins import upper_edge_seconds
from store.queries.scope import Scope
from store.queries.slo_plan import RAW_RECENT

MOST_POINTS = 300
# Ranges up to here are charted from the rows; in longer ones only the last hours are, and five
# minutes say nothing where counts are kept by ten.
EXACT_RANGE_SECONDS = 86_400.0
_RECENT_SECONDS = RAW_RECENT.total_seconds()
MOST_SPENDERS = 12
HOURS = 24
UNLABELLED = "(none)"
BURN_WINDOWS_SECONDS = {
    "burn_5m": 300.0,
    "burn_1h": 3600.0,
    "burn_6h": 6 * 3600.0,
    "burn_3d": 3 * 86_400.0,
}
SPENT_BY_SCHEMA: dict[str, Any] = {
    "dimension": pl.String,
    "value": pl.String,
    "bad": pl.Int64,
    "attempted": pl.Int64,
    "bad_share_ratio": pl.Float64,
    "traffic_share_ratio": pl.Float64,
    "over_representation": pl.Float64,
}
CURVE_SCHEMA: dict[str, Any] = {
    "threshold_seconds": pl.Float64,
    "attainment_ratio": pl.Float64,
    "is_objective": pl.Boolean,
}
ALERTS_SCHEMA: dict[str, Any] = {
    "severity": pl.String,
    "long_window": pl.String,
    "short_window": pl.String,
    "threshold": pl.Float64,
    "burn_long": pl.Float64,
    "burn_short": pl.Float64,
    "firing": pl.Boolean,
    "reachable": pl.Boolean,
    "why": pl.String,
}


def budget(slo: Slo, counted: Counted) -> pl.DataFrame:
    """Budget left as the window goes by; the last point is the budget left now.

    1 - bad so far / allowed in the window, allowed = (1 - target) x attempted in the window; of a
    calendar period attempted is what came so far and as much a second for the rest of it.

    Returns:
        at (naive UTC, ends of bins), budget_left_ratio; null until the first request.
    """
    left = _budget_left(slo, counted)
    return _budget_frame(counted, left, _thinned(len(left)))


def budget_of_late(slo: Slo, counted: Counted, seconds: float) -> pl.DataFrame:
    """The end of the same, every bin of it: at most so many seconds back."""
    left = _budget_left(slo, counted)
    shown = max(1, round(seconds / counted.width_seconds))
    return _budget_frame(counted, left, list(range(max(0, len(left) - shown), len(left))))


def _budget_left(slo: Slo, counted: Counted) -> npt.NDArray[np.float64]:
    width = counted.width_seconds
    window = window_of(slo, counted.end)
    bins = max(1, round(window.elapsed_seconds / width))
    if slo.calendar is not None:  # the first of them may be a part of one
        bins = max(1, int(np.ceil(window.elapsed_seconds / width)))
    bad, attempted = _dense(counted.own_bins(slo.window_seconds), bins)
    allowed = (1 - slo.target_ratio) * attempted.sum() / window.elapsed_ratio
    left = 1 - np.cumsum(bad) / allowed if allowed > 0 else np.full(bins, np.nan)
    return np.where((np.cumsum(attempted) > 0) & (not counted.blind), left, np.nan)


def _budget_frame(
    counted: Counted, left: npt.NDArray[np.float64], picked: list[int]
) -> pl.DataFrame:
    return pl.DataFrame(
        {"at": _bin_ends(counted, len(left)).gather(picked), "budget_left_ratio": left[picked]},
        schema={"at": pl.Datetime("us"), "budget_left_ratio": pl.Float64},
    ).with_columns(pl.col("budget_left_ratio").fill_nan(None))


def burn(slo: Slo, counted: Counted, scope: Scope) -> pl.DataFrame:
    """Burn over four windows that end at each point of the visible range.

    Returns:
        at (naive UTC, ends of bins), burn_5m, burn_1h, burn_6h, burn_3d; null where nothing came in
        the window, or the window is longer than the SLO's or finer than the counts: in a range of
        more than a day, five minutes are known of its last six hours only.
    """
    width = counted.width_seconds
    shown = max(1, int(np.ceil(scope.seconds / width)))
    reach = shown + round(max(BURN_WINDOWS_SECONDS.values()) / width)
    bad, attempted = _dense(counted.bins, reach)
    bad_sum = np.concatenate([[0.0], np.cumsum(bad)])
    attempted_sum = np.concatenate([[0.0], np.cumsum(attempted)])
    last = np.arange(reach - shown, reach)[_thinned(shown)] + 1
    recent = np.inf if scope.seconds <= EXACT_RANGE_SECONDS else _RECENT_SECONDS
    fine = (reach - last) * width <= recent - BURN_WINDOWS_SECONDS["burn_5m"]
    columns: dict[str, Any] = {"at": _bin_ends(counted, reach).gather((last - 1).tolist())}
    for name, seconds in BURN_WINDOWS_SECONDS.items():
        first = np.maximum(0, last - max(1, round(seconds / width)))
        came = attempted_sum[last] - attempted_sum[first]
        spoiled = bad_sum[last] - bad_sum[first]
        fits = width <= seconds <= slo.window_seconds and not counted.blind
        known = (came > 0) & fits & ((seconds >= BURN_WINDOWS_SECONDS["burn_1h"]) | fine)
        ratio = np.divide(spoiled, came, out=np.full(came.shape, np.nan), where=known)
        columns[name] = ratio / (1 - slo.target_ratio)
    return pl.DataFrame(columns).with_columns(
        pl.col("at").cast(pl.Datetime("us")),
        *(pl.col(n).fill_nan(None) for n in BURN_WINDOWS_SECONDS),
    )


def events(found: pl.DataFrame, scope: Scope, width_seconds: int) -> pl.DataFrame:
    """Requests per bin of the visible range; 0 is a true 0 here, since rows were counted.

    Args:
        found: bin (counted back from the end of the newest bin), good, bad, undetermined.
        scope: the visible range.
        width_seconds: width of a bin; bins count from 1970-01-01.

    Returns:
        at (naive UTC, starts of bins), good, bad, undetermined.
    """
    starts = series.round_bins(scope.start, scope.end, width_seconds)
    axis = starts.with_columns(bin=pl.int_range(starts.height - 1, -1, -1, dtype=pl.Int64))
    kept = found.select("bin", "good", "bad", "undetermined")
    return series.on_bins(kept, axis).with_columns(
        pl.col("good", "bad", "undetermined").fill_null(0)
    )


def no_events(scope: Scope, width_seconds: int) -> pl.DataFrame:
    """The same where nobody has counted yet: unknown, not 0."""
    axis = series.round_bins(scope.start, scope.end, width_seconds)
    names = ("good", "bad", "undetermined")
    return axis.with_columns(pl.lit(None, pl.Int64).alias(name) for name in names)


def events_of(counted: Counted, scope: Scope) -> pl.DataFrame:
    """The same from bounds: certainly good, certainly bad, and those that may be either.

    Null where nothing was scraped or nothing finished.
    """
    width = counted.width_seconds
    shown = max(1, int(np.ceil(scope.seconds / width)))
    step = max(1, int(np.ceil(shown / MOST_POINTS)))
    axis = series.bin_starts(counted.end, width * step, -(-shown // step))
    certain = counted.bins.filter((pl.col("bin") >= 0) & (pl.col("attempted") > 0)).select(
        pl.col("bin") // step,
        good=pl.col("good_low"),
        bad=pl.col("attempted") - pl.col("good_high"),
        undetermined=pl.col("good_high") - pl.col("good_low") + pl.col("undetermined"),
    )
    summed = certain.group_by("bin").agg(pl.all().sum().round().cast(pl.Int64))
    return series.on_bins(summed, axis)


def alerts(slo: Slo, counted: Counted, status: SloStatus) -> pl.DataFrame:
    """Every burn rule: its two burns now, whether it fires and whether it ever can.

    Without data nobody knows whether it fires: `firing` is null then, as are both burns.
    """
    rows: list[tuple[Any, ...]] = []
    for rule in slo.alerts:
        long, short, firing = _rule_now(slo, counted, status, rule)
        unreachable = unreachable_why(rule, slo.target_ratio)
        why = unreachable or (
            "fires" if firing else _why_silent(slo, counted, status, rule.long_seconds, long)
        )
        rows.append(
            (
                rule.severity,
                short_window(rule.long_seconds),
                short_window(rule.short_seconds),
                rule.burn,
                long,
                short,
                firing,
                unreachable is None,
                why,
            )
        )
    return pl.DataFrame(rows, schema=ALERTS_SCHEMA, orient="row")


def spent_by(found: pl.DataFrame) -> pl.DataFrame:
    """Who the bad requests were, against who the traffic was.

    Args:
        found: as returned by `store.queries.slo_rolled.spent`.

    Returns:
        Columns of `SPENT_BY_SCHEMA`; the largest twelve of each dimension that says anything, and
        all hours of the day, by bad requests. Shares are of all requests: those without the label
        are a row of their own, value "(none)". over_representation = share of bad / share of
        traffic.
    """
    spenders: dict[str, list[Spender]] = {name: [] for name in _DIMENSIONS}
    for row in found.iter_rows(named=True):
        one = Spender(row["value"], row["bad"], row["good"] + row["bad"])
        spenders[row["dimension"]].append(one)
    bad, attempted = _sums(spenders["hour"])
    rows = []
    for dimension, (shown, named) in _DIMENSIONS.items():
        part = _with_unlabelled(spenders[dimension], bad, attempted)
        shares = _shares(part, shown, named)
        rows += shares if len(shares) > 1 else []
    return pl.DataFrame(rows, schema=SPENT_BY_SCHEMA, orient="row")


def threshold_curve(slo: Slo, status: SloStatus, column: str, found: pl.DataFrame) -> pl.DataFrame:
    """Attainment as a function of one threshold, from log bins (at most 4.4 % apart).

    Exact at the bin edges; the row of the SLO's own threshold (`is_objective`) is the counted
    attainment.

    Args:
        slo: the definition.
        status: where it stands; its attempted requests are the denominator.
        column: the quantity whose threshold is varied.
        found: log_bin, requests; as returned by `store.queries.slo.threshold_bins`.
    """
    if found.is_empty() or status.tally.attempted <= 0:
        return pl.DataFrame(schema=CURVE_SCHEMA)
    edges = [upper_edge_seconds(number) for number in found["log_bin"].to_list()]
    curve = pl.DataFrame(
        {
            "threshold_seconds": edges,
            # numpy divides; polars multiplies by the reciprocal, which is off in the last digit.
            "attainment_ratio": found["requests"].cum_sum().to_numpy() / status.tally.attempted,
            "is_objective": [False] * len(edges),
        },
        schema=CURVE_SCHEMA,
    )
    if status.attainment_ratio is None:
        return curve
    own = pl.DataFrame(
        {
            "threshold_seconds": [slo.limits_seconds[column]],
            "attainment_ratio": [status.attainment_ratio],
            "is_objective": [True],
        },
        schema=CURVE_SCHEMA,
    )
    # A bin ends below its edge, so at an edge that is the threshold only the counted share is true.
    others = curve.filter(pl.col("threshold_seconds") != own["threshold_seconds"][0])
    return pl.concat([others, own]).sort("threshold_seconds")


def _rule_now(
    slo: Slo, counted: Counted, status: SloStatus, rule: AlertRule
) -> tuple[float | None, float | None, bool | None]:
    if status.status == "no data":
        return None, None, None
    long, short, firing = rule_state(slo, counted, rule)
    return long, short, None if long is None or short is None else firing


def _why_silent(
    slo: Slo, counted: Counted, status: SloStatus, seconds: float, long: float | None
) -> str:
    if status.status == "no data":
        return status.why
    if long is None:
        return "no request in the window"
    bad = counted.window(seconds).bad_low
    if bad < slo.minimum_bad_events:
        return f"{bad:,.0f} bad requests in the window; fires from {slo.minimum_bad_events} on"
    return "below the threshold"


def _dense(
    counts: pl.DataFrame, bins: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Certainly bad and attempted requests of the last `bins` bins, oldest first."""
    bad, attempted = np.zeros(bins), np.zeros(bins)
    kept = counts.filter((pl.col("bin") >= 0) & (pl.col("bin") < bins))
    places = bins - 1 - kept["bin"].to_numpy()
    attempted[places] = kept["attempted"].to_numpy()
    bad[places] = (kept["attempted"] - kept["good_high"]).to_numpy()
    return bad, attempted


def _bin_ends(counted: Counted, bins: int) -> pl.Series:
    width = timedelta(seconds=counted.width_seconds)
    starts = series.bin_starts(counted.end, counted.width_seconds, bins)
    return starts.select(pl.col("at") + width)["at"]


def _thinned(bins: int) -> list[int]:
    """At most `MOST_POINTS` evenly spaced positions, the last one always among them."""
    step = max(1, int(np.ceil(bins / MOST_POINTS)))
    return list(range((bins - 1) % step, bins, step))


def _octave(octave: str) -> str:
    if octave == UNLABELLED:
        return octave
    return f"{2 ** int(octave):,}-{2 ** (int(octave) + 1) - 1:,}"


def _hour(hour: str) -> str:
    return f"{int(hour):02d}:00-{(int(hour) + 1) % 24:02d}:00"


_DIMENSIONS: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "model": ("model", str),
    "tenant": ("tenant", str),
    "route": ("route", str),
    "instance": ("instance", str),
    "input_octave": ("input_tokens", _octave),
    "hour": ("hour", _hour),
}


def raw_value(dimension: str, value: str) -> tuple[str, str]:
    """A row of `spent_by` as the store calls it: dimension and value of `slo_rolled.spent`.

    >>> raw_value("input_tokens", "1,024-2,047"), raw_value("hour", "13:00-14:00")
    (('input_octave', '10'), ('hour', '13'))
    """
    if dimension == "input_tokens":
        return "input_octave", str(int(value.split("-")[0].replace(",", "")).bit_length() - 1)
    return dimension, str(int(value[:2])) if dimension == "hour" else value


class Spender(NamedTuple):
    """A value of a dimension, its bad requests and all of them."""

    value: str
    bad: int
    attempted: int


def _sums(spenders: Sequence[Spender]) -> tuple[int, int]:
    return sum(one.bad for one in spenders), sum(one.attempted for one in spenders)


def _with_unlabelled(spenders: list[Spender], bad: int, attempted: int) -> list[Spender]:
    """The values of one dimension, and what is left of the whole when any request has the label."""
    labelled_bad, labelled = _sums(spenders)
    if not spenders or labelled == attempted:
        return spenders
    return [*spenders, Spender(UNLABELLED, bad - labelled_bad, attempted - labelled)]


def _shares(
    spenders: Sequence[Spender], dimension: str, named: Callable[[str], str]
) -> list[tuple[str, str, int, int, float | None, float, float | None]]:
    """Rows of `SPENT_BY_SCHEMA`."""
    total_bad, total = _sums(spenders)
    largest = sorted(
        (one for one in spenders if one.attempted > 0),
        key=lambda one: (-one.bad, -one.attempted, one.value),
    )[: HOURS if dimension == "hour" else MOST_SPENDERS]
    rows = []
    for value, bad, attempted in largest:
        share = bad / total_bad if total_bad else None
        traffic = attempted / total
        over = None if share is None else share / traffic
        rows.append((dimension, named(value), bad, attempted, share, traffic, over))
    return rows
