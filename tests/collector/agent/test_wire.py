"""What an agent sends arrives as it was, or is refused in one line."""

import contextlib
import gzip
import json
import math
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.agent.wire import Batch, GpuFault, decode, encode
from collector.drops import Drop
from collector.model import HistogramSample, PageNotes, Refused, Sample, Scrape, TargetFacts
from store.errors import InputError

AT = datetime(2026, 1, 31, 12, 0, 0, 123457, tzinfo=UTC)
finite = st.floats(allow_nan=False, allow_infinity=False)
samples = st.builds(
    Sample, st.sampled_from(["requests_running", "kv_cache_usage_ratio"]), st.text(), finite
)


@st.composite
def histograms(draw):
    edges = tuple(draw(st.lists(finite, max_size=4)))
    counts = tuple(draw(st.lists(finite, min_size=len(edges), max_size=len(edges))))
    return HistogramSample(
        "ttft_seconds", "{}", draw(finite), draw(finite | st.none()), edges, counts
    )


scrapes = st.builds(
    Scrape,
    st.integers(0, 1),
    st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    st.floats(0, 100),
    st.sampled_from(["ok", "timeout", "unreachable"]),
    st.text() | st.none(),
    *[st.integers(0, 10**9) | st.none()] * 4,
    samples=st.lists(samples, max_size=5).map(tuple),
    histograms=st.lists(histograms(), max_size=3).map(tuple),
    facts=st.builds(TargetFacts, st.text() | st.none()) | st.none(),
    notes=st.builds(PageNotes, clock_offset_seconds=finite | st.none()) | st.none(),
)


@given(st.lists(scrapes, max_size=4))
def test_a_batch_arrives_as_it_was(told):
    """Every number, time and text survives the way, to the last bit."""
    batch = Batch(("http://a", "http://b"), tuple(told))
    assert decode(gzip.decompress(encode(batch))) == batch


def test_faults_drops_and_refused_values_arrive():
    """What went wrong goes the same way as what was measured; a NaN stays one."""
    notes = PageNotes((Refused("requests_running", "{}", math.nan),), {"x": 3}, ("new_name",), -0.5)
    fault = GpuFault("n1", "0", AT, None, "xid", "XID 79: the card fell off the bus")
    drop = Drop("agent", "the spool was full", 12, "x")
    batch = Batch(
        ("http://a",), (Scrape(0, AT, 0.1, "ok", notes=notes),), (fault,), ((AT, drop),)
    )  # fmt: skip
    told = decode(gzip.decompress(encode(batch)))
    assert (told.faults, told.drops) == (batch.faults, batch.drops)
    assert math.isnan(told.scrapes[0].notes.refused[0].value)
    assert told.rows == 2


def test_a_batch_of_the_next_version_is_refused_by_name():
    """An agent newer than its server is told so."""
    with pytest.raises(InputError, match="version 2"):
        decode(b'{"version": 2}')


@given(st.binary(max_size=200))
def test_bytes_never_raise_anything_else(data):
    """Whatever comes in, it is a batch or one line of refusal."""
    with contextlib.suppress(InputError):
        decode(data)


@given(st.data())
def test_a_damaged_batch_never_raises_anything_else(data):
    """Any part of a good batch replaced by something else is still refused in one line."""
    document = orjson.loads(gzip.decompress(encode(Batch(("a",), (Scrape(0, AT, 0.1, "ok"),)))))
    key = data.draw(st.sampled_from(sorted(document)))
    whole = st.integers(-(2**63), 2**63 - 1)
    junk = st.none() | st.booleans() | whole | st.text() | st.lists(whole)
    place = data.draw(st.sampled_from(["whole", "first"]))
    if place == "first" and isinstance(document[key], list) and document[key]:
        document[key][0] = data.draw(junk)
    else:
        document[key] = data.draw(junk)
    with contextlib.suppress(InputError):
        decode(orjson.dumps(document))


def test_steady_scrapes_cost_little():
    """The second scrape of a target names no series again."""
    told = tuple(Sample("requests_running", f'{{"model":"m{n}"}}', float(n)) for n in range(200))
    one = Batch(("a",), (Scrape(0, AT, 0.1, "ok", samples=told),))
    two = Batch(
        ("a",), (*one.scrapes, Scrape(0, AT + timedelta(seconds=5), 0.1, "ok", samples=told))
    )
    assert len(encode(two)) < 1.5 * len(encode(one))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (5, 2**64 - 1), (5, -1), (6, 2**31), (7, 10**30), (8, 2**40),
        (9, [7, "0.13", "m"]), (9, ["vllm", [], None]),
    ],
)  # fmt: skip
def test_counts_and_facts_that_no_store_holds_are_refused(place, value):
    """Found by fuzzing: they went through, and failed in the rows of all batches beside them."""
    document = orjson.loads(gzip.decompress(encode(Batch(("a",), (Scrape(0, AT, 0.1, "ok"),)))))
    document["scrapes"][0][place] = value
    with pytest.raises(InputError, match="damaged"):
        decode(json.dumps(document).encode())


def test_more_losses_than_can_be_counted_are_refused():
    """A count is at most what the store keeps."""
    document = orjson.loads(gzip.decompress(encode(Batch(("a",), ()))))
    document["drops"] = [[0, "agent", "full", 2**63, ""]]
    with pytest.raises(InputError, match="damaged"):
        decode(orjson.dumps(document))
