"""What one replica serves, and how many serve a rate."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from controller.capacity import all_staffed, staffed


@given(st.lists(st.floats(0, 1e9, allow_subnormal=False), max_size=30), st.floats(1e-6, 1e6))
def test_replicas_of_many_rates_are_those_of_each(rates, capacity):
    """To the same bits: stored decisions must come out as they were."""
    together = all_staffed(np.array(rates), capacity)
    assert together.tolist() == [staffed(rate, capacity) for rate in rates]
