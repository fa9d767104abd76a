"""The address of a page is its whole state."""

from __future__ import annotations

from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from dashboard.url_state import Address, parse
from store.queries.scope import join_values

WORDS = st.text(min_size=1, max_size=12)
SEGMENTS = st.lists(WORDS.filter(lambda w: w not in (".", "..")), max_size=3).map(tuple)


@given(path=SEGMENTS, params=st.dictionaries(WORDS, WORDS, max_size=5))
def test_every_address_survives_the_browser(path, params):
    """What is written into a URL is read back unchanged, whatever the names are."""
    address = Address(path, params)
    parts = urlsplit("http://host" + address.href("/ui/"))
    again = parse(parts.path, f"?{parts.query}" if parts.query else "", "/ui/")
    assert again == address


@given(pathname=st.text(), search=st.text())
def test_no_address_is_too_odd_to_read(pathname, search):
    """A mistyped address gives a page that says so, never a traceback."""
    assert isinstance(parse(pathname, search, "/ui/"), Address)


@given(values=st.lists(WORDS.filter(bool), unique=True, max_size=4), value=WORDS.filter(bool))
def test_toggling_a_filter_twice_changes_nothing(values, value):
    """A second click on a filter takes the first one back."""
    address = Address((), {"model": join_values(values)} if values else {})
    twice = address.toggled("model", value).toggled("model", value)
    assert set(twice.values("model")) == set(values)


def test_a_filter_given_twice_is_a_list():
    """HTML forms repeat a name; both values count."""
    assert parse("/ui/", "?model=a&model=b", "/ui/").values("model") == ("a", "b")


def test_another_page_keeps_the_scope_and_drops_what_is_its_own():
    """Time and filters follow the viewer; open tables do not."""
    here = Address(("workload",), {"from": "now-1h", "table": "rate", "model": "m"})
    there = here.to("slo")
    assert there.params == {"from": "now-1h", "model": "m"}
    assert there.href("/ui/") == "/ui/slo?from=now-1h&model=m"
