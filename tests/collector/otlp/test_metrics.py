"""Metrics by OTLP: the adapters of scraped pages, and what temporality and restarts mean."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.otlp import buckets, metrics
from collector.otlp.metrics import MetricReader
from collector.otlp.model import (
    CUMULATIVE,
    DELTA,
    ExponentialPoint,
    HistogramPoint,
    Metric,
    MetricGroup,
    NumberPoint,
)
from collector.otlp.names import series_labels, series_name, target_url
from collector.otlp.resources import sender_of
from collector.otlp.totals import Totals, Value

SECOND = 10**9
NOW = 1_800_000_000 * SECOND
START = NOW - 1000 * SECOND
RESOURCE = {"service.name": "vllm", "service.instance.id": "gpu-1:8000"}
LABELS = {"engine": "0", "model_name": "llama"}


def counter(value, at, *, name="vllm:generation_tokens_total", temporality=CUMULATIVE, start=START):
    point = NumberPoint(LABELS, start, at, value)
    return Metric(name, "", "sum", temporality, True, (point,), 1)


def gauge(value, at=NOW, name="vllm:num_requests_running", labels=LABELS):
    return Metric(name, "", "gauge", 0, False, (NumberPoint(labels, 0, at, value),), 1)


def histogram(counts, at, *, temporality=CUMULATIVE, bounds=(0.5, 1.0), start=START, total=None):
    point = HistogramPoint(LABELS, start, at, True, sum(counts), total, bounds, counts)
    name = "vllm:time_to_first_token_seconds"
    return Metric(name, "s", "histogram", temporality, False, (point,), 1)


def read(reader, *told, resource=RESOURCE):
    return reader.read([MetricGroup(resource, "", list(told))], NOW)


def samples(reading):
    return [(s.signal, s.value) for told in reading.rounds for s in told.samples]


def test_an_engine_behind_a_collector_is_read_as_if_scraped():
    """Names, labels and aggregation are those of the page: two engines are added up."""
    other = {"engine": "1", "model_name": "llama"}
    reading = read(MetricReader(), gauge(3.0), gauge(4.0, labels=other))
    [told] = reading.rounds
    assert told.url == "otlp://vllm/gpu-1:8000"
    assert (told.facts.engine, told.facts.model) == ("vllm", "llama")
    assert samples(reading) == [("requests_running", 7.0)]


def test_points_of_one_collection_stay_together_and_others_apart():
    """Within a second they are one moment; a series that comes again begins the next."""
    other = {"engine": "1", "model_name": "llama"}
    reading = read(
        MetricReader(),
        gauge(3.0, NOW - 5 * SECOND),
        gauge(4.0, NOW - 5 * SECOND + 1000, labels=other),
        gauge(1.0, NOW),
        gauge(1.0, NOW + 1000, labels=other),
    )
    assert samples(reading) == [("requests_running", 7.0), ("requests_running", 2.0)]


def test_deltas_are_added_up_and_a_resent_one_counts_once():
    """The store holds cumulative values."""
    reader = MetricReader()
    told = [
        samples(read(reader, counter(value, NOW - 100 * SECOND + at, temporality=DELTA)))
        for value, at in ((5.0, 1), (7.0, 2), (7.0, 2), (1.0, 3))
    ]
    assert [[value for _, value in one] for one in told] == [[5.0], [12.0], [], [13.0]]


def test_a_restart_that_hides_in_the_numbers_is_shown():
    """A new start time with a value above the old one: a zero is put where counting began."""
    reader = MetricReader()
    read(reader, counter(100.0, NOW - 60 * SECOND))
    reading = read(reader, counter(150.0, NOW, start=NOW - 30 * SECOND))
    assert [(r.at_ns, s.value) for r in reading.rounds for s in r.samples] == [
        (NOW - 30 * SECOND, 0.0),
        (NOW, 150.0),
    ]


def test_a_restart_that_shows_needs_nothing():
    """A drop is a restart by itself, and the same start time is none."""
    reader = MetricReader()
    read(reader, counter(100.0, NOW - 60 * SECOND))
    assert len(read(reader, counter(50.0, NOW - 30 * SECOND, start=NOW - 40 * SECOND)).rounds) == 1
    assert len(read(reader, counter(70.0, NOW, start=NOW - 40 * SECOND)).rounds) == 1


def test_what_was_not_recorded_is_no_value():
    """The flag means stale: nothing is stored, and nothing is wrong."""
    reading = read(MetricReader(), gauge(None))
    assert (reading.rounds, reading.left_out.total()) == ([], 0)


def test_histograms_are_cumulative_by_edge():
    """Counts of single buckets are added up; the last one has no edge."""
    [told] = read(MetricReader(), histogram((1, 2, 3), NOW, total=7.5)).rounds
    [made] = told.histograms
    assert (made.signal, made.edges) == ("ttft_seconds", (0.5, 1.0))
    assert made.cumulative_counts == (1.0, 3.0)
    assert (made.observation_count, made.observation_sum) == (6.0, 7.5)


def test_histograms_of_deltas_are_added_up():
    """Bucket by bucket."""
    reader = MetricReader()
    read(reader, histogram((1, 2, 3), NOW - SECOND, temporality=DELTA, total=1.0))
    [told] = read(reader, histogram((1, 0, 0), NOW, temporality=DELTA, total=0.5)).rounds
    [made] = told.histograms
    assert made.cumulative_counts == (2.0, 4.0)
    assert (made.observation_count, made.observation_sum) == (7.0, 1.5)


@pytest.mark.parametrize(
    "point",
    [
        HistogramPoint({}, START, NOW, True, 3, None, (1.0,), (1, 1)),
        HistogramPoint({}, START, NOW, True, 2, None, (2.0, 1.0), (1, 1, 0)),
        HistogramPoint({}, START, NOW, True, 2, None, (math.nan,), (1, 1)),
        HistogramPoint({}, START, NOW, True, 2, math.inf, (1.0,), (1, 1)),
        HistogramPoint({}, START, 0, True, 2, None, (1.0,), (1, 1)),
        ExponentialPoint({}, START, NOW, True, 9, None, 0, 0, 0.0, 0, (1,), 0, ()),
    ],
)
def test_histograms_that_contradict_themselves_are_refused(point):
    """The sender is told."""
    metric = Metric("vllm:time_to_first_token_seconds", "s", "histogram", 2, False, (point,), 1)
    reading = read(MetricReader(), metric)
    assert (reading.rounds, reading.refused_count()) == ([], 1)
    assert dict(reading.left_out) == {metrics.BAD_POINT: 1}


@given(
    st.integers(-2, 7),
    st.lists(st.floats(1e-6, 1e6), max_size=30),
    st.integers(0, 3),
)
def test_exponential_buckets_hold_what_was_observed(scale, observed, zeros):
    """At every edge the count is that of the observations at or below it."""
    base = 2 ** (2**-scale)
    places = [math.ceil(math.log(value, base)) - 1 for value in observed]
    low, high = min(places, default=0), max(places, default=-1)
    counts = tuple(places.count(place) for place in range(low, high + 1))
    point = ExponentialPoint(
        {}, START, NOW, True, len(observed) + zeros, None, scale, zeros, 0.0, low, counts, 0, ()
    )
    assert buckets.sound(point)
    for edge, count in buckets.cumulative(point):
        below = sum(value <= edge * (1 + 1e-9) for value in observed)
        above = sum(value <= edge * (1 - 1e-9) for value in observed)
        assert above + zeros <= count <= below + zeros


def test_negative_observations_lie_below_zero():
    """Mirrored buckets: [-4, -2) ends at -2."""
    point = ExponentialPoint({}, START, NOW, True, 6, None, 0, 1, 0.1, 0, (2,), 0, (1, 2))
    assert buckets.cumulative(point) == ((-2.0, 2.0), (-1.0, 3.0), (0.1, 4.0), (2.0, 6.0))


def test_exponential_histograms_become_the_signal():
    """With the grid in use as edges."""
    point = ExponentialPoint(LABELS, START, NOW, True, 3, 6.0, 0, 0, 0.0, 0, (1, 2), 0, ())
    name = "vllm:time_to_first_token_seconds"
    metric = Metric(name, "s", "exponential", CUMULATIVE, False, (point,), 1)
    [told] = read(MetricReader(), metric).rounds
    assert told.histograms[0].edges == (0.0, 2.0, 4.0)
    assert told.histograms[0].cumulative_counts == (0.0, 1.0, 3.0)


def test_grids_that_grow_can_be_added():
    """Outside the part in use nothing was observed, so both are known at all edges."""
    first = Value(2.0, 3.0, ((1.0, 0.0), (2.0, 2.0)))
    second = Value(3.0, 30.0, ((4.0, 0.0), (8.0, 3.0)))
    both = first.plus(second)
    assert both == Value(5.0, 33.0, ((1.0, 0.0), (2.0, 2.0), (4.0, 2.0), (8.0, 5.0)))


def test_summaries_are_refused_with_the_reason():
    """Quantiles cannot be put together."""
    metric = Metric("vllm:some_summary", "", "summary", 0, False, (), 2)
    reading = read(MetricReader(), metric)
    assert dict(reading.left_out) == {metrics.NO_SUMMARIES: 2}


def test_metrics_of_other_things_are_counted_and_not_refused():
    """A collector sends everything; the sender is not told of each that means nothing here."""
    reading = read(MetricReader(), gauge(1.0, name="http.server.active_requests"))
    assert reading.rounds == []
    assert dict(reading.left_out) == {metrics.UNKNOWN_METRIC: 1}
    assert reading.refused_count() == 0


def test_a_clock_an_hour_ahead_is_refused():
    """Its points would hide all others for an hour."""
    reading = read(MetricReader(), gauge(1.0, NOW + 3600 * SECOND))
    assert dict(reading.left_out) == {metrics.POINT_FROM_THE_FUTURE: 1}


def test_a_flood_of_series_is_bounded():
    """New series beyond the limit are refused; known ones go on."""
    reader = MetricReader(Totals(most_series=2))
    points = tuple(
        NumberPoint({"engine": str(number), "model_name": "m"}, START, NOW, 1.0)
        for number in range(5)
    )
    metric = Metric("vllm:generation_tokens_total", "", "sum", CUMULATIVE, True, points, 5)
    reading = read(reader, metric)
    assert dict(reading.left_out) == {metrics.TOO_MANY_SERIES: 3}
    assert samples(reading) == [("generation_tokens_total", 2.0)]


def test_instruments_are_spelled_as_on_a_page():
    """Dots and units are translated; names from a page stay."""
    told = [
        ("gen_ai.server.time_to_first_token", "s", "histogram", False),
        ("gen_ai.client.token.usage", "{token}", "histogram", False),
        ("process.cpu.time", "s", "sum", True),
        ("vllm:num_requests_running", "1", "gauge", False),
    ]
    assert [series_name(Metric(n, u, k, 2, m, (), 0)) for n, u, k, m in told] == [
        "gen_ai_server_time_to_first_token_seconds",
        "gen_ai_client_token_usage",
        "process_cpu_time_seconds_total",
        "vllm:num_requests_running",
    ]
    assert series_labels({"gen_ai.token.type": "input", "a": True, "b": 5}) == (
        ("a", "true"),
        ("b", "5"),
        ("gen_ai_token_type", "input"),
    )


def test_every_sender_has_an_address():
    """Odd signs in names do not break it."""
    assert target_url(sender_of({})) == "otlp://unknown/unknown"
    told = {"service.name": "a b/c", "service.instance.id": "x?y"}
    assert target_url(sender_of(told)) == "otlp://a%20b%2Fc/x%3Fy"


def test_the_genai_convention_is_read_by_the_gateways_table():
    """Instruments with dots become the names that the table of Envoy's AI gateway has."""
    point = HistogramPoint(
        {"gen_ai.request.model": "llama", "gen_ai.operation.name": "chat"},
        *(START, NOW, True, 3, 1.5, (0.5, 1.0), (1, 1, 1)),
    )
    name = "gen_ai.server.time_to_first_token"
    metric = Metric(name, "s", "histogram", CUMULATIVE, False, (point,), 1)
    [told] = read(MetricReader(), metric).rounds
    assert [(h.observation_count, h.edges) for h in told.histograms] == [(3.0, (0.5, 1.0))]


def test_a_start_after_its_point_tells_of_no_restart():
    """A sender whose clock jumps must not put a zero into the far future."""
    reader = MetricReader()
    read(reader, counter(100.0, NOW - 60 * SECOND))
    [told] = read(reader, counter(150.0, NOW, start=2**63)).rounds
    assert told.at_ns == NOW


@pytest.mark.parametrize("count", [10_001, 200_000])
def test_a_histogram_of_very_many_buckets_is_refused(count):
    """Each of them would be stored with every sample."""
    for point in (
        HistogramPoint({}, START, NOW, True, 0, None, tuple(range(count)), (0,) * (count + 1)),
        ExponentialPoint({}, START, NOW, True, 0, None, 0, 0, 0.0, 0, (0,) * count, 0, ()),
    ):
        assert not buckets.sound(point)
