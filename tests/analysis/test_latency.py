import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from analysis.latency import quantile, quantiles, tpot_seconds
from store.queries.log_bins import (
    MIDDLE_ERROR_RATIO,
    log_bin,
    log_bin_sql,
    lower_edge_seconds,
    upper_edge_seconds,
)


@given(st.lists(st.floats(1e-6, 1e5), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_from_log_bins_is_within_its_stated_error(values, q):
    """Counting into bins costs at most 2.2 %, which is what pages state."""
    counts = pl.DataFrame({"log_bin": [log_bin(v) for v in values], "requests": [1] * len(values)})
    found, n = quantile(counts, q)
    true = float(np.quantile(values, q, method="inverted_cdf"))
    assert abs(found / true - 1) <= MIDDLE_ERROR_RATIO + 1e-9
    assert n == len(values)


@given(st.floats(1e-6, 1e6))
def test_a_value_lies_in_its_bin(seconds):
    """The edges of a bin enclose what was counted into it."""
    found = log_bin(seconds)
    assert lower_edge_seconds(found) <= seconds * (1 + 1e-12)
    assert seconds <= upper_edge_seconds(found) * (1 + 1e-12)


def test_sql_and_python_count_into_the_same_bins(database):
    """A chart counted in SQL and a marker placed in Python agree."""
    values = [1e-6, 0.001, 0.3, 0.5, 1.0, 7.3, 60.0, 0.0]
    frame = database.reader.frame(
        f"SELECT v, {log_bin_sql('v')} AS bin FROM unnest($values) AS t(v)", values=values
    )
    assert frame["bin"].to_list() == [log_bin(v) for v in frame["v"]]


def test_groups_have_their_own_quantiles():
    """Each key gets its own quantile, and an empty one none."""
    counts = pl.DataFrame({"bin": [0, 0, 1], "log_bin": [0, 16, 32], "requests": [99, 1, 5]})
    found = quantiles(counts, 0.95, "bin")
    assert found["bin"].to_list() == [0, 1]
    assert found["requests"].to_list() == [100, 5]
    assert found["seconds"][0] < 1.1 < 4 < found["seconds"][1]


def test_one_token_has_no_time_per_token():
    """A one-token answer is undetermined, never infinitely fast."""
    assert tpot_seconds(1.0, 1.0, 1) is None
    assert tpot_seconds(1.0, 3.0, 5) == 0.5
    assert tpot_seconds(3.0, 1.0, 5) is None
