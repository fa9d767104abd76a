"""How an address, an API call or a command says what it is about."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import InputError
from store.queries.scope import (
    LIVE_SOURCE_ID,
    SourceInfo,
    join_values,
    parse_duration,
    parse_time,
    resolve,
    split_values,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = datetime(2023, 11, 16, tzinfo=UTC)


def source(number, name, first=None, last=None, clock="utc"):
    kind = "live" if number == LIVE_SOURCE_ID else "trace"
    return SourceInfo(number, name, kind, kind, clock, first, last, 1)


EMPTY_LIVE = source(1, "live")
CONV = source(2, "conv", DAY, DAY + timedelta(hours=1))
CODE = source(3, "code", DAY + timedelta(minutes=5), DAY + timedelta(hours=2))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RELATIVE = source(4, "mooncake", EPOCH, EPOCH + timedelta(days=1), "relative")


def test_a_trace_is_shown_whole_and_now_is_its_last_record():
    """Opening a trace shows all of it, last record included."""
    scope = resolve({"source": "conv"}, [EMPTY_LIVE, CONV], NOW)
    assert scope.start == CONV.first_at
    assert scope.end == CONV.last_at + timedelta(microseconds=1)
    assert resolve({"source": "conv", "from": "now-10m"}, [CONV], NOW).start == (
        CONV.last_at + timedelta(microseconds=1) - timedelta(minutes=10)
    )


def test_without_a_source_traces_that_overlap_are_shown_together():
    """The newest trace and those of its clock that overlap it; never another clock."""
    scope = resolve({}, [EMPTY_LIVE, CONV, CODE], NOW)
    assert scope.source_ids == (2, 3)
    assert resolve({}, [EMPTY_LIVE, CONV, CODE, RELATIVE], NOW).source_ids == (4,)


def test_live_data_comes_first_and_young_data_fills_the_picture():
    """Six hours of live data, or as much as there is, at least a quarter of an hour."""
    young = source(1, "live", NOW - timedelta(minutes=2), NOW)
    assert resolve({}, [young, CONV], NOW).start == NOW - timedelta(minutes=15)
    hour = source(1, "live", NOW - timedelta(hours=1), NOW)
    assert resolve({}, [hour], NOW).start == NOW - timedelta(hours=1)
    old = source(1, "live", NOW - timedelta(days=9), NOW)
    assert resolve({}, [old], NOW).start == NOW - timedelta(hours=6)


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"source": "nope"}, "nope"),
        ({"source": "conv,mooncake"}, "clock"),
        ({"source": "conv", "from": "yesterday"}, "yesterday"),
        ({"source": "conv", "from": "now", "to": "now-1h"}, "empty"),
    ],
)
def test_what_makes_no_sense_is_named(params, word):
    """A wrong name, mixed clocks, a bad time and an empty range are each one clear line."""
    with pytest.raises(InputError, match=word):
        resolve(params, [EMPTY_LIVE, CONV, CODE, RELATIVE], NOW)


def test_several_values_are_separated_by_commas():
    """Labels come as lists, blanks are ignored."""
    scope = resolve({"source": "conv", "model": "a, b,,"}, [CONV], NOW)
    assert scope.models == ("a", "b")


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_a_clear_error(text):
    """Nothing that stands in an address can crash the codec."""
    for read in (lambda t: parse_time(t, NOW), parse_duration):
        with suppress(InputError):
            read(text)


@given(st.integers(1, 10_000_000), st.integers(1, 2000))
def test_bins_are_round_and_few(seconds, most):
    """A range never gives more bins than asked for, unless weeks are too narrow."""
    scope = resolve({"source": "live", "from": f"now-{min(seconds, 999_999)}s"}, [EMPTY_LIVE], NOW)
    width = scope.bin_seconds(most)
    assert scope.seconds / width <= most or width == 604_800


@given(values=st.lists(st.text(min_size=1), max_size=5))
def test_any_label_can_be_filtered_by(values):
    """Commas, backslashes and spaces inside a value survive the way through an address."""
    assert split_values(join_values(values)) == tuple(values)


@given(text=st.text())
def test_no_list_is_too_odd_to_read(text):
    """Whatever is typed is some list of values, none of them empty."""
    assert "" not in split_values(text)


def test_a_list_reads_as_people_write_it():
    """Spaces around commas mean nothing; a backslash takes the meaning from a comma only."""
    assert split_values(" a, b,,c ") == ("a", "b", "c")
    assert split_values(r"Acme\, Inc., C:\temp") == ("Acme, Inc.", r"C:\temp")
    scope = resolve({"source": "conv", "tenant": r"Acme\, Inc."}, [CONV], NOW)
    assert scope.tenants == ("Acme, Inc.",)
