"""A clock that was set back does not hold a pool for as long as it was set back by."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from controller.standings import Standings

TIMES = st.floats(0.0, 4e9)


@given(now=TIMES, changed=TIMES, later=st.floats(0.0, 1e6))
def test_a_change_from_the_future_was_changed_now(now, changed, later):
    """Its cooldown begins anew and ends; one from the past is left as it is."""
    book = SimpleNamespace(changed_at={"a": changed, "gone": changed})
    standings = Standings(book, None)
    first = standings._changed(["a", "never"], now)
    assert first == {"a": min(now, changed)}
    assert standings._changed(["a", "never"], now + later) == first
    assert book.changed_at["gone"] == changed
