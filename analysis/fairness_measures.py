"""How fairly service was shared: pure functions of courses.

Sources: VTC, arXiv 2401.00588, and its artifact (Ying1123/VTC-artifact, fair_bench/plot); R. Jain,
D.-M. Chiu, W. Hawe, A quantitative measure of fairness, DEC-TR-301 (1984).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.fairness_courses import Bools, Courses, Floats

LEAST_TOKENS = 1.0
"""Who asked for less in a window had no demand in it."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Service that tenants who wait are apart, since both began to wait.

    Attributes:
        tokens: by edge; NaN where fewer than two wait.
        ahead: who is ahead, place in the courses; -1 where nobody is.
        behind: who is behind.
        waiting: how many tenants wait.
    """

    tokens: Floats
    ahead: Floats
    behind: Floats
    waiting: Floats


@dataclass(frozen=True, slots=True)
class Shares:
    """What tenants got and what would have been fair, by window.

    Attributes:
        given: service, (tenants, windows).
        fair: the same service shared fairly among those with demand, see `fair_shares`.
        has_demand: who asked for something in the window or before.
        is_contended: whether anybody waited in the window, (windows,).
    """

    given: Floats
    fair: Floats
    has_demand: Bools
    is_contended: Bools


def gap(courses: Courses, weights: Floats) -> Gap:
    """The largest difference of service (by weight) among tenants that wait, at every edge.

    It is counted from when the later of two began to wait: what one got while the other asked for
    nothing is no debt, and the bound of VTC speaks of such stretches only.

    Args:
        courses: of the tenants.
        weights: share of each tenant, > 0.
    """
    service, waits = courses.service / weights[:, None], courses.backlogged
    edges = np.arange(courses.edges)
    most = np.full(courses.edges, -1.0)
    ahead, behind = np.full(courses.edges, -1.0), np.full(courses.edges, -1.0)
    for one in range(len(courses.tenants)):
        both = waits[one] & waits[one + 1 :]
        if not both.any():
            continue
        apart = service[one] - service[one + 1 :]
        # Where each run of waiting together began: the edge after the last at which they did not.
        began = np.maximum.accumulate(np.where(both, 0, edges + 1), axis=1)
        since = apart - np.take_along_axis(apart, np.minimum(began, edges[-1]), axis=1)
        size = np.where(both, np.abs(since), -1.0)
        top = size.argmax(axis=0)
        value, sign = size[top, edges], since[top, edges]
        better = value > most
        most = np.where(better, value, most)
        other = top + one + 1
        ahead = np.where(better, np.where(sign > 0, one, other), ahead)
        behind = np.where(better, np.where(sign > 0, other, one), behind)
    tokens = np.where(most >= 0, most, np.nan)
    return Gap(tokens, ahead, behind, waits.sum(axis=0).astype(np.float64))


def bound_tokens(
    input_weight: float, output_weight: float, longest_input: float, batch_tokens: float
) -> float:
    """The most that two tenants who both wait can be apart under VTC.

    2 max(w_p L_input, w_q M), with the longest input and the tokens that a batch holds.
    """
    return 2 * max(input_weight * longest_input, output_weight * batch_tokens)


def windowed_difference(courses: Courses, weights: Floats, *, with_refused: bool = False) -> Floats:
    """Sum over tenants of min(max_j s_j - s_i, |d_i - s_i|), in tokens a second, by window.

    s is the service in the window and d what was asked for in it: who asks for little is not
    treated unfairly. One window starts at every edge; it is centred on its middle. Nothing asked
    and nothing served is NaN. Source: `get_service_diff_over_time` of the artifact.

    Args:
        courses: of the tenants.
        weights: share of each tenant.
        with_refused: whether what was refused counts as asked for; the artifact leaves it out, so
            a policy that refuses looks fair.
    """
    bins = courses.window_bins
    asked = courses.asked + courses.refused if with_refused else courses.asked
    scale = courses.window_seconds * weights[:, None]
    served = courses.given(bins) / scale
    wanted = (asked[:, bins:] - asked[:, :-bins]) / scale
    short = np.minimum(served.max(axis=0) - served, np.abs(wanted - served))
    found: Floats = short.sum(axis=0)
    return np.where(served.sum(axis=0) + wanted.sum(axis=0) > 0, found, np.nan)


def shares(courses: Courses, weights: Floats) -> Shares:
    """What each tenant got in windows that follow each other, and what would have been fair."""
    bins = courses.window_bins
    starts = slice(0, None, bins)
    given = courses.given(bins, starts)
    waiting = np.cumsum(np.pad(courses.backlogged, ((0, 0), (1, 0))), axis=1)
    edges = np.arange(0, courses.edges - bins, bins)
    waits = waiting[:, edges + bins + 1] > waiting[:, edges]
    left = courses.asked[:, bins:][:, starts] - courses.service[:, :-bins][:, starts]
    # Who never waited got what it asked for, whatever is still on its way to it.
    demand = np.where(waits, np.maximum(left, given), given)
    fair = fair_shares(given.sum(axis=0), demand, weights)
    has_demand: Bools = np.asarray(demand >= LEAST_TOKENS, np.bool_)
    is_contended: Bools = np.asarray(waits.any(axis=0), np.bool_)
    return Shares(given, fair, has_demand, is_contended)


def fair_shares(total: float | Floats, demand: Floats, weights: Floats) -> Floats:
    """Share a total by weight, nobody more than its demand: max-min fairness.

    Every tenant gets min(its demand, weight x level), with the level at which it adds up to the
    total.

    Args:
        total: what is shared, >= 0; the sum of all demand at most. One number, or one a window.
        demand: of each tenant, (tenants,) or (tenants, windows).
        weights: of each tenant, > 0.
    """
    wanted = demand.reshape(len(weights), -1)
    windows = np.arange(wanted.shape[1])
    given = np.zeros_like(wanted)
    left = np.zeros(windows.size) + total
    weight = np.full(windows.size, weights.sum())
    # From who wants least for its weight on: what one leaves is shared by those after it.
    for place in np.argsort(wanted / weights[:, None], axis=0):
        level = np.divide(np.maximum(left, 0.0), weight, out=np.zeros_like(left), where=weight > 0)
        got = np.minimum(wanted[place, windows], level * weights[place])
        given[place, windows] = got
        left -= got
        weight -= weights[place]
    return given.reshape(demand.shape)


def fair_ratio(found: Shares, windows: Bools) -> Floats:
    """Service over the fair share of each tenant, over some of the windows; NaN without demand."""
    given, fair = found.given[:, windows].sum(axis=1), found.fair[:, windows].sum(axis=1)
    has = found.has_demand[:, windows].any(axis=1)
    ratio: Floats = np.divide(given, fair, out=np.full(len(given), np.nan), where=has & (fair > 0))
    return ratio


def jain(values: Floats) -> float | None:
    """(sum x)^2 / (n sum x^2) over the known values; None for fewer than two, or all zero.

    1 is the same for all, 1/n is all for one.
    """
    known = values[~np.isnan(values)]
    square = float((known**2).sum())
    if known.size < 2 or square == 0:
        return None
    return min(float(known.sum()) ** 2 / (known.size * square), 1.0)


def max_min(values: Floats) -> float | None:
    """Smallest over largest of the known values; None for fewer than two, or all zero."""
    known = values[~np.isnan(values)]
    if known.size < 2 or known.max() <= 0:
        return None
    return float(known.min() / known.max())


def jain_by_window(found: Shares) -> list[float | None]:
    """Jain's index of each window over its tenants with demand; as `jain` of each."""
    known = found.has_demand & (found.fair > 0)
    ratio = np.divide(found.given, found.fair, out=np.zeros(found.given.shape), where=known)
    count, square = known.sum(axis=0), (ratio**2).sum(axis=0)
    is_told = (count >= 2) & (square > 0)
    index = np.divide(ratio.sum(axis=0) ** 2, count * square, out=np.ones(count.size),
                      where=is_told)  # fmt: skip
    return [
        min(value, 1.0) if told else None
        for value, told in zip(index.tolist(), is_told.tolist(), strict=True)
    ]


def difference_interval(
    one: tuple[float, float, float], other: tuple[float, float, float]
) -> tuple[float, float]:
    """95 % interval of a difference of two ratios, each given as (value, low, high) by Wilson.

    Source: R. G. Newcombe, Statistics in Medicine 17 (1998) 873-890, method 10.
    """
    apart = one[0] - other[0]
    low = apart - math.hypot(one[0] - one[1], other[2] - other[0])
    high = apart + math.hypot(one[2] - one[0], other[0] - other[1])
    return max(low, -1.0), min(high, 1.0)
