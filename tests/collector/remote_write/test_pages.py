"""Samples that come in pieces become the rows that one scraped page would have given."""

import json
import math
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.drops import Drops
from collector.exposition import parse
from collector.remote_write import labels as wire
from collector.remote_write.body import TooLarge
from collector.remote_write.decode import V1, V2, Columns, walk
from collector.remote_write.door import Door
from collector.remote_write.pages import SETTLE_SECONDS, Pages
from collector.remote_write.plan import plan
from collector.remote_write.proto import v1_pb2, v2_pb2
from collector.remote_write.rows import PlanCache, Rows
from collector.remote_write.series import SeriesTable

PAGES = Path(__file__).parents[2] / "data" / "pages"
VLLM = "vllm_0.32.0_dp2_spec_lora.txt"
CAPTURED = sorted(path.name for path in PAGES.glob("*.txt"))
AT_MS = 1_769_860_800_000
NOW = 1_000.0


def told(name, instance="gpu-1:8000"):
    """Every series of a captured page with its value, as a sender labels them."""
    values = parse((PAGES / name).read_text("utf-8")).values
    found = []
    for series, value in values.items():
        labels = {**dict(series.labels), "__name__": series.name}
        labels |= {"job": "engines", "instance": instance}
        labels = {name: text for name, text in labels.items() if text}
        found.append((tuple(sorted(labels.items())), value))
    return found


def told_series(number):
    """Labels of one of many series of one target."""
    labels = {"__name__": "vllm:num_requests_running", "instance": "a", "job": "b"}
    return tuple({**labels, "replica": str(number)}.items())


def v1(samples, at_ms=AT_MS):
    return v1_pb2.WriteRequest(
        timeseries=[
            v1_pb2.TimeSeries(
                labels=[v1_pb2.Label(name=n, value=v) for n, v in labels],
                samples=[v1_pb2.Sample(value=value, timestamp=at_ms)],
            )
            for labels, value in samples
        ]
    ).SerializeToString()


def v2(samples, at_ms=AT_MS):
    symbols = {"": 0}
    made = []
    for labels, value in samples:
        refs = [symbols.setdefault(text, len(symbols)) for pair in labels for text in pair]
        sample = v2_pb2.Sample(value=value, timestamp=at_ms)
        made.append(v2_pb2.TimeSeries(labels_refs=refs, samples=[sample]))
    return v2_pb2.Request(symbols=list(symbols), timeseries=made).SerializeToString()


class Receiver:
    """A door and the rows that its pages become."""

    def __init__(self):
        self.door = Door(Drops())
        self.plans = PlanCache()
        self.now = NOW

    def take(self, body, message=V1):
        taken = self.door.take(body, message, AT_MS + 60_000, self.now)
        return self.door.pages.ready(self.now, taken.pages)

    def wait(self):
        self.now += SETTLE_SECONDS + 1
        return self.door.pages.ready(self.now)

    def rows(self, pages):
        rows = Rows(self.plans)
        for page in pages:
            page.target.target_id = 7
            rows.add(page)
        return {table: frame.sort(frame.columns[:5]) for table, frame in rows.frames().items()}


def plain(frames):
    """Rows that can be compared: NaN never gets into them."""
    return {table: frame.to_dicts() for table, frame in frames.items()}


def expected(page):
    """What the resolver makes of the same page, signal and labels first."""
    told, values = page.flags(), page.values()
    cells = [(one.cells, float(values[slot])) for slot, one in enumerate(page.target.kept)
             if told[slot] and one.cells]  # fmt: skip
    reading = page.target.resolver.assemble(cells)
    samples = {(one.signal, one.labels): one.value for one in reading.samples}
    histograms = {
        (one.signal, one.labels): (
            one.observation_count, one.observation_sum, one.edges, one.cumulative_counts
        )
        for one in reading.histograms
    }  # fmt: skip
    return samples, histograms


def found(frames):
    samples = {
        (row["signal"], row["labels"]): row["value"]
        for row in (frames["sample"].to_dicts() if "sample" in frames else [])
    }
    histograms = {
        (row["signal"], row["labels"]): (
            row["observation_count"], row["observation_sum"],
            tuple(row["edges"]), tuple(row["cumulative_counts"]),
        )
        for row in (frames["histogram_sample"].to_dicts() if "histogram_sample" in frames else [])
    }  # fmt: skip
    return samples, histograms


def assert_same(ours, theirs):
    """Equal up to the order of additions."""
    for mine, other in zip(ours, theirs, strict=True):
        assert set(mine) == set(other)
        for key, value in mine.items():
            assert flat(value) == pytest.approx(flat(other[key]), rel=1e-12), key


def flat(value):
    if not isinstance(value, tuple):
        return [value]
    return [math.inf if part is None else part for one in value for part in
            (one if isinstance(one, tuple) else (one,))]  # fmt: skip


@pytest.mark.parametrize("name", CAPTURED)
def test_a_captured_page_gives_what_a_scrape_gives(name):
    """Columns picked by place and the resolver's own way agree on every signal."""
    receiver = Receiver()
    assert receiver.take(v1(told(name))) == []
    (page,) = receiver.wait()
    frames = receiver.rows([page])
    assert frames["scrape"].height == 1
    assert_same(found(frames), expected(page))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_columns_and_resolver_agree_on_any_values(data):
    """NaN, infinities, negative counts, any subset of the series."""
    samples = told(VLLM)
    seed = data.draw(st.integers(0, 2**32))
    odd = data.draw(st.sampled_from([0, 0, 1, 5, 200]))
    rng = random.Random(seed)  # noqa: S311 - repeatable
    samples = rng.sample(samples, rng.randint(1, len(samples)))
    changed = {rng.randrange(len(samples)): rng.choice([math.nan, math.inf, -1.0, 0.0, 1e300])
               for _ in range(odd)}  # fmt: skip
    samples = [(labels, changed.get(place, value)) for place, (labels, value) in enumerate(samples)]
    receiver = Receiver()
    receiver.take(v1(samples))
    for page in receiver.wait():
        if page.target.resolver is not None:
            assert_same(found(receiver.rows([page])), expected(page))


@pytest.mark.parametrize("seed", range(5))
def test_however_a_page_is_cut_it_is_the_same_page(seed):
    """Shards take series in any order and in any number of requests."""
    rng = random.Random(seed)  # noqa: S311 - repeatable
    whole, cut = Receiver(), Receiver()
    for receiver in (whole, cut):
        receiver.take(v1(told(VLLM)))
        receiver.wait()
    later = [(labels, value + 1) for labels, value in told(VLLM)]
    at_once = whole.take(v1(later, AT_MS + 5_000))
    assert len(at_once) == 1
    rng.shuffle(later)
    ready = []
    for part in [later[start : start + 150] for start in range(0, len(later), 150)]:
        assert ready == []
        ready += cut.take(v1(part, AT_MS + 5_000))
    assert plain(cut.rows(ready)) == plain(whole.rows(at_once))


def test_both_versions_give_the_same_rows():
    """The same samples by 1.0 and by 2.0, and by both mixed."""
    results = []
    for encode, message in ((v1, V1), (v2, V2)):
        receiver = Receiver()
        receiver.take(encode(told(VLLM)), message)
        results.append(plain(receiver.rows(receiver.wait())))
    assert results[0] == results[1]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_quick_walk_says_what_protobuf_says(data):
    """Whatever the values and times, known series decode to the same columns."""
    receiver = Receiver()
    samples = told("llama_server_0.3.36_under_load.txt")
    receiver.take(v1(samples))
    values = data.draw(st.lists(st.floats(width=64), min_size=len(samples), max_size=len(samples)))
    at_ms = data.draw(st.integers(-(2**40), 2**42 - 1))
    body = v1([(labels, value) for (labels, _), value in zip(samples, values, strict=True)], at_ms)
    quick = walk(body, receiver.door.table.number_of)
    slow = receiver.door.decoder._decode_v1(v1_pb2.WriteRequest.FromString(body))
    if quick is not None:
        assert quick.numbers.tolist() == slow.numbers.tolist()
        assert quick.at_ms.tolist() == slow.at_ms.tolist()
        assert quick.values.tobytes() == slow.values.tobytes()
    elif at_ms >= 2**35:
        assert any(0 < abs(value) < 1e-250 for value in values)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120), st.integers(0, 60))
def test_the_quick_walk_never_fails_on_bytes(noise, cut):
    """A damaged body is left to protobuf, whatever the damage."""
    receiver = Receiver()
    sound = v1(told("llama_server_0.3.36_under_load.txt")[:3])
    receiver.take(sound)
    walk(noise, receiver.door.table.number_of)
    walk(sound[:-cut] + noise, receiver.door.table.number_of)


def test_a_page_that_stays_incomplete_goes_without_what_is_cut():
    """A lost bucket takes its histogram along, everything else is stored, and the loss counted."""
    receiver = Receiver()
    samples = told(VLLM)
    receiver.take(v1(samples))
    whole = found(receiver.rows(receiver.wait()))
    names = [dict(labels)["__name__"] for labels, _ in samples]
    lost = names.index("vllm:time_to_first_token_seconds_bucket")
    assert receiver.take(v1(samples[:lost] + samples[lost + 1 :], AT_MS + 5_000)) == []
    (page,) = receiver.wait()
    rows = Rows(receiver.plans)
    rows.add(page)
    samples_found, histograms = found(rows.frames())
    assert samples_found == whole[0]
    assert {signal for signal, _ in set(whole[1]) - set(histograms)} == {"ttft_seconds"}
    assert rows.lost_count == 1


def test_the_next_page_is_not_held_up_by_a_series_that_is_gone():
    """After one incomplete page its shape is the expected one."""
    receiver = Receiver()
    samples = told(VLLM)
    receiver.take(v1(samples))
    receiver.wait()
    receiver.take(v1(samples[5:], AT_MS + 5_000))
    receiver.wait()
    assert len(receiver.take(v1(samples[5:], AT_MS + 10_000))) == 1


def test_pages_that_wait_are_bounded():
    """A sender of half pages cannot fill the memory: the oldest go as they are."""
    receiver = Receiver()
    receiver.door.pages._most_pending = 10
    samples = [one for one in told(VLLM) if "num_requests" in dict(one[0])["__name__"]]
    ready = []
    for number in range(50):
        ready += receiver.take(v1(samples, AT_MS + number * 1_000))
    assert len(receiver.door.pages) <= 11
    assert len(ready) >= 39


def test_a_target_with_very_many_series_is_bounded(monkeypatch):
    """The series beyond are left out and counted, the first ones are read."""
    monkeypatch.setattr("collector.remote_write.series.MOST_SLOTS", 20)
    receiver = Receiver()
    (first, value), *_ = [
        one for one in told(VLLM) if "num_requests_running" in dict(one[0])["__name__"]
    ]
    many = [
        (tuple(sorted({**dict(first), "replica": str(number)}.items())), value)
        for number in range(50)
    ]
    receiver.take(v1(many))
    assert receiver.door.drops.totals() == {
        ("remote_write", "its target has more than 10,000 series that are read"): 30
    }


def test_series_that_came_before_their_engine_was_known_count_from_then_on():
    """`process_…` names belong to nobody until a name of the engine is seen."""
    receiver = Receiver()
    samples = told(VLLM)
    process = [one for one in samples if dict(one[0])["__name__"].startswith("process_")]
    engine = [one for one in samples if dict(one[0])["__name__"].startswith("vllm:")]
    receiver.take(v1(process))
    receiver.take(v1(engine))
    receiver.take(v1(process + engine, AT_MS + 5_000))
    frames = receiver.rows(receiver.wait())
    assert "process_memory_bytes" in set(frames["sample"]["signal"])


def test_times_of_one_series_may_come_together():
    """A sender that catches up packs several samples into one series."""
    receiver = Receiver()
    samples = told(VLLM)
    receiver.take(v1(samples))
    receiver.wait()
    request = v1_pb2.WriteRequest.FromString(v1(samples, AT_MS + 5_000))
    for series in request.timeseries:
        series.samples.add(value=series.samples[0].value, timestamp=AT_MS + 10_000)
    ready = receiver.take(request.SerializeToString())
    assert [page.at_ms for page in ready] == [AT_MS + 5_000, AT_MS + 10_000]


def test_labels_of_a_target_are_safe_in_its_address():
    """Slashes and blanks in job or instance cannot be taken for another target."""
    url = wire.target_url({"job": "a/b c", "instance": "[::1]:80"})
    assert url == "remote-write://a%2Fb%20c/[::1]:80"
    assert wire.target_url({"job": "a"}) is None


def test_a_plan_is_made_of_sound_columns():
    """Labels of every row are canonical JSON."""
    receiver = Receiver()
    receiver.take(v1(told(VLLM)))
    (page,) = receiver.wait()
    made = plan(page.target, page.flags().nonzero()[0].tolist())
    for labels in (*made.plain.labels, *made.buckets.labels):
        assert json.dumps(json.loads(labels), sort_keys=True, separators=(",", ":")) == labels


def test_thousands_of_pages_of_one_target_cost_no_square_of_their_number():
    """A sender that catches up brings hours of one target in one request."""
    receiver = Receiver()
    name = (("__name__", "vllm:num_requests_running"), ("instance", "a"), ("job", "b"))
    labels = [v1_pb2.Label(name=n, value=v) for n, v in name]
    samples = [v1_pb2.Sample(value=1, timestamp=AT_MS - 5 * n) for n in range(60_000, 0, -1)]
    series = v1_pb2.TimeSeries(labels=labels, samples=samples)
    body = v1_pb2.WriteRequest(timeseries=[series]).SerializeToString()
    assert len(receiver.take(body)) + len(receiver.wait()) == 60_000


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([4, 10_000]), st.sampled_from([300, 10**7]))
def test_every_sample_goes_with_one_page_of_its_time(seed, most_pending, most_cells):
    """Nothing is lost or put elsewhere, however pieces come, repeat, and whatever bound is hit."""
    rng = random.Random(seed)  # noqa: S311 - repeatable
    table = SeriesTable()
    one = [told_series(number) for number in range(rng.choice([1, 5, 70]))]
    numbers = [table.learn(wire.encoded(labels), labels) for labels in one]
    pages = Pages(table, most_pending=most_pending, most_cells=most_cells)
    sent, gone, now = {}, [], 0.0
    for _ in range(rng.randint(1, 20)):
        picked = [rng.choice(numbers) for _ in range(rng.randint(1, 200))]
        at_ms = [AT_MS + rng.randint(0, 5) for _ in picked]
        values = [rng.random() for _ in picked]
        sent |= dict.fromkeys(zip(picked, at_ms, strict=True))
        columns = Columns(np.array(picked), np.array(values), np.array(at_ms))
        gone += pages.ready(now, pages.add(columns, now))
        now += rng.choice([0, 1, 20])
    gone += pages.everything()
    assert (len(pages), pages.cell_count) == (0, 0)
    slots = [(int(slot), page.at_ms) for page in gone for slot in page.flags().nonzero()[0]]
    assert {(table.slot[number], at) for number, at in sent} == set(slots)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32))
def test_a_page_holds_the_last_value_of_each_slot_however_it_came(seed):
    """Pieces that are put together on the way say the same as all of them."""
    rng = random.Random(seed)  # noqa: S311 - repeatable
    table = SeriesTable()
    numbers = [table.learn(wire.encoded(one), one) for one in map(told_series, range(60))]
    pages = Pages(table)
    last = {}
    for _ in range(rng.choice([1, 5, 120])):
        picked = rng.choices(numbers, k=rng.randint(1, 40))
        values = [rng.random() for _ in picked]
        last |= dict(zip(picked, values, strict=True))
        times = np.full(len(picked), AT_MS)
        pages.add(Columns(np.array(picked), np.array(values), times), NOW)
    (page,) = pages.everything()
    found = page.values()
    assert {slot: found[slot] for slot in page.flags().nonzero()[0]} == {
        table.slot[number]: value for number, value in last.items()
    }
    assert page.cell_count < 5_000


def test_pages_of_a_target_with_very_many_series_cost_what_came_for_them():
    """Thousands of moments of one series, then thousands of series: no product of the two."""
    receiver = Receiver()
    labels = [v1_pb2.Label(name=n, value=v) for n, v in told_series(0)]
    samples = [v1_pb2.Sample(value=1, timestamp=AT_MS + number) for number in range(5_000)]
    moments = v1_pb2.WriteRequest(timeseries=[v1_pb2.TimeSeries(labels=labels, samples=samples)])
    many = v1([(told_series(number), 1.0) for number in range(10_000)], AT_MS + 20_000)
    tracemalloc.start()
    try:
        ready = receiver.take(moments.SerializeToString()) + receiver.take(many)
        ready += receiver.wait()
        receiver.rows(ready)
        assert len(ready) == 5_001
        assert tracemalloc.get_traced_memory()[1] < 150 << 20
    finally:
        tracemalloc.stop()


def test_a_body_of_very_many_moments_is_too_large(monkeypatch):
    """Such a body is refused whole, with what to do about it."""
    monkeypatch.setattr("collector.remote_write.door.MOST_PAGES", 100)
    receiver = Receiver()
    series = v1_pb2.TimeSeries(
        labels=[v1_pb2.Label(name=n, value=v) for n, v in told_series(0)],
        samples=[v1_pb2.Sample(value=1, timestamp=AT_MS + number) for number in range(101)],
    )
    body = v1_pb2.WriteRequest(timeseries=[series]).SerializeToString()
    with pytest.raises(TooLarge, match="max_samples_per_send"):
        receiver.take(body)
    assert len(receiver.door.pages) == 0


def test_plans_are_bounded_by_what_they_hold():
    """A sender that tells another part of a page each time cannot fill the memory with plans."""
    receiver = Receiver()
    receiver.plans = PlanCache(most_slots=2_000)
    samples = told(VLLM)
    for number in range(30):
        receiver.take(v1(samples[number:], AT_MS + number))
    receiver.rows(receiver.wait())
    assert len(receiver.plans) < 10
