"""Shares, inequality and each client's own stream."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.workload import clients

AMOUNTS = st.lists(st.floats(0, 1e6), min_size=1, max_size=50)


def test_gini_by_hand():
    """1, 2, 3, 4: mean absolute difference 1.25 x 2, mean 2.5, so G = 0.25."""
    assert clients.gini(np.array([4.0, 1.0, 3.0, 2.0])) == pytest.approx(0.25)
    assert clients.gini(np.array([5.0, 5.0, 5.0])) == pytest.approx(0)
    assert clients.gini(np.array([0.0, 0.0, 0.0, 8.0])) == pytest.approx(0.75)


def test_nothing_to_share_is_unknown():
    """Without clients, or when nobody has anything, there is no inequality to state."""
    assert clients.gini(np.array([])) is None
    assert clients.gini(np.zeros(3)) is None
    assert clients.top_share(np.zeros(3), 1) is None


@given(AMOUNTS)
def test_gini_stays_between_equal_and_all(amounts):
    """0 to 1 - 1/n, whatever the amounts."""
    found = clients.gini(np.array(amounts))
    if found is not None:
        assert -1e-9 <= found <= 1 - 1 / len(amounts) + 1e-9


@given(AMOUNTS)
def test_the_lorenz_curve_rises_from_zero_to_one_below_the_diagonal(amounts):
    """Smallest first: never above the line of equality."""
    frame = clients.lorenz_frame("tenant", np.array(amounts), None)
    curve = frame["requests_ratio"].to_numpy()
    assert curve[0] == 0
    assert np.all(np.diff(curve) >= -1e-12)
    assert np.all(curve <= frame["clients_ratio"].to_numpy() + 1e-9)
    assert frame["tokens_ratio"].null_count() == frame.height


def test_each_client_varies_on_its_own(random):
    """A steady and a bursty client in one stream keep their own variation."""
    steady = np.arange(0, 1000) * 1_000_000
    bursty = np.cumsum(random.gamma(0.2, 5.0, 1000) * 1e6).astype(np.int64)
    codes = np.array([7] * 1000 + [3] * 1000)
    at_us = np.concatenate((steady, bursty))
    mixed = random.permutation(2000)
    found, variation = clients.variation_by_client(codes[mixed], at_us[mixed])
    gaps = np.diff(np.sort(bursty))
    assert found.tolist() == [3, 7]
    assert variation[0] == pytest.approx(gaps.std() / gaps.mean())
    assert variation[1] == pytest.approx(0, abs=1e-6)


def test_a_client_with_two_requests_has_no_variation():
    """One gap is not a spread."""
    _, variation = clients.variation_by_client(np.array([1, 1]), np.array([0, 5]))
    assert np.isnan(variation[0])


def _rates(rows):
    schema = {
        "client": pl.String,
        "at": pl.Int64,
        "window_seconds": pl.Float64,
        "rate_per_second": pl.Float64,
        "interarrival_cv": pl.Float64,
        "family": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        pl.from_epoch("at", time_unit="s")
    )


def test_rate_series_give_shares_and_weighted_variation():
    """Client a sends three of four requests; a window without a family says nothing of gaps."""
    rates = _rates(
        [
            ("a", 0, 600.0, 2.0, 3.0, "Gamma"),
            ("a", 600, 600.0, 1.0, 0.0, None),
            ("b", 0, 600.0, 1.0, 1.5, "Weibull"),
            ("b", 600, 600.0, 0.0, 0.0, None),
        ]
    )
    table = clients.rate_clients(rates)
    assert table["client"].to_list() == ["a", "b"]
    assert table["share_ratio"].to_list() == [0.75, 0.25]
    assert table["requests_per_second"].to_list() == [1.5, 0.5]
    assert table["interarrival_cv"].to_list() == [3.0, 1.5]
    assert clients.weighted_variation(rates) == pytest.approx((2 * 3 + 1 * 1.5) / 3)


def test_no_windows_give_no_clients():
    """Empty in, empty out, with the columns."""
    assert clients.rate_clients(_rates([])).columns == list(clients.CLIENTS_SCHEMA)
    assert clients.weighted_variation(_rates([])) is None
