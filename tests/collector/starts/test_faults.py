"""Faults of cards: what changes between two readings, and what does not count."""

import gzip
import json
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.agent.gpu_faults import XIDS
from collector.agent.spool_sink import SpoolSink
from collector.agent.wire import decode
from collector.model import Sample, Scrape
from collector.sink import MemorySink, frames
from collector.starts.fault_sink import FaultSink, seeds_of
from collector.starts.faults import WATCHED_SIGNALS, FaultWatch, fault_frame
from store.append import GPU_FAULT_FRAME, shaped
from store.clock import VirtualClock
from store.database import Database
from store.queries.faults import gpu_faults, last_readings
from store.settings import StoreSettings
from store.signals import SIGNALS
from store.targets import register

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CARD = {"gpu": "3", "gpu_uuid": "GPU-a", "node": "gpu-node-7"}


def labels_of(told):
    return json.dumps(told, sort_keys=True, separators=(",", ":"))


def scrape(seconds, *told, target_id=1, outcome="ok"):
    samples = tuple(
        Sample(signal, labels_of({**CARD, **labels}), float(value))
        for signal, value, labels in ((*one, {})[:3] for one in told)
    )
    at = NOON + timedelta(seconds=seconds)
    return Scrape(target_id, at, 0.1, outcome, samples=samples)


def faults(*scrapes, watch=None):
    watch = watch or FaultWatch()
    return [fault for one in scrapes for fault in watch.look(one)]


def test_watched_signals_are_in_the_catalogue():
    """Nobody waits for a signal that cannot come."""
    assert set(WATCHED_SIGNALS) <= set(SIGNALS)


def test_xid_counts_only_when_the_code_changes():
    """A code stands for ever: where it stood before says nothing, a new one is an event."""
    codes = [48, 48, 48, 79, 79]
    [fault] = faults(*(scrape(30 * n, ("gpu_xid_last_code", c)) for n, c in enumerate(codes)))
    assert (fault.node, fault.gpu, fault.kind) == ("gpu-node-7", "3", "xid")
    assert fault.started_at == NOON + timedelta(seconds=90)
    assert fault.details == "XID 79: the card has fallen off the bus: the node needs a restart"


def test_a_code_that_goes_back_to_zero_is_no_event():
    """The driver was loaded again."""
    assert faults(scrape(0, ("gpu_xid_last_code", 48)), scrape(5, ("gpu_xid_last_code", 0))) == []


def test_the_same_code_twice_is_seen_in_the_windows_count():
    """The last code cannot tell; the count of the window rises. That it falls again is no news."""
    counts = [0, 1, 1, 2, 1, 0]
    found = faults(
        *(scrape(30 * n, ("gpu_xid_recent_events", c, {"xid": "63"})) for n, c in enumerate(counts))
    )
    assert [fault.started_at.minute * 60 + fault.started_at.second for fault in found] == [30, 90]
    assert {fault.details for fault in found} == {f"XID 63: {XIDS[63]}"}


def test_one_event_told_by_two_signals_is_one_fault():
    """Last code and window rise together."""
    before = scrape(0, ("gpu_xid_last_code", 0), ("gpu_xid_recent_events", 0, {"xid": "48"}))
    after = scrape(5, ("gpu_xid_last_code", 48), ("gpu_xid_recent_events", 1, {"xid": "48"}))
    [fault] = faults(before, after)
    assert fault.details == f"XID 48: {XIDS[48]}"


def test_uncorrected_errors_are_faults_one_by_one():
    """Growth counts; a counter that begins anew has grown by what it shows."""
    counts = [5, 5, 7, 1]
    found = faults(
        *(scrape(n, ("gpu_ecc_uncorrected_total", c)) for n, c in enumerate(counts)),
    )
    assert [fault.details.split()[0] for fault in found] == ["2", "1"]
    assert {fault.kind for fault in found} == {"ecc"}


def test_corrected_errors_are_one_fault_for_each_window():
    """Corrected errors are normal one by one: five minutes of them are one row."""
    found = faults(
        *(scrape(30 * n, ("gpu_ecc_corrected_total", n)) for n in range(11)),
        *(scrape(300 + 30 * n, ("gpu_ecc_corrected_total", 10)) for n in range(1, 12)),
    )
    [fault] = found
    assert fault.details == "10 corrected memory errors"
    assert (fault.started_at, fault.ended_at) == (NOON, NOON + timedelta(minutes=5))


@pytest.mark.parametrize(
    ("signal", "before", "after", "kind"),
    [
        ("gpu_row_remap_failed_ratio", 0, 1, "remap"),
        ("gpu_healthy_ratio", 1, 0, "unhealthy"),
    ],
)
def test_a_flag_is_a_fault_when_it_comes(signal, before, after, kind):
    """Once, not at every reading while it stands."""
    told = [before, after, after, after]
    [fault] = faults(*(scrape(n, (signal, v)) for n, v in enumerate(told)))
    assert fault.kind == kind
    assert faults(*(scrape(n, (signal, after)) for n in range(3))) == []


def throttled(share, reason="thermal"):
    return [
        scrape(30 * n, ("gpu_throttled_seconds_total", 30 * n * share, {"reason": reason}))
        for n in range(11)
    ]


def test_throttling_is_judged_by_its_share_of_five_minutes():
    """A tenth of the time is a fault, less is not; idle clocks never are."""
    [fault] = faults(*throttled(0.25))
    assert fault.details == "clocks held down by thermal for 25% of the time"
    assert (fault.started_at, fault.ended_at) == (NOON, NOON + timedelta(minutes=5))
    assert faults(*throttled(0.05)) == []
    assert faults(*throttled(1.0, reason="idle")) == []


def test_throttling_told_as_a_share():
    """AMD tells the share itself: its mean over time counts."""
    shares = [0.0, 0.5] * 6
    told = [
        scrape(30 * n, ("gpu_throttled_ratio", share, {"reason": "power"}))
        for n, share in enumerate(shares)
    ]
    [fault] = faults(*told)
    assert fault.details == "clocks held down by power for 25% of the time"


def test_a_long_silence_is_not_taken_for_throttling():
    """One reading after an hour says nothing about the hour."""
    told = (
        scrape(seconds, ("gpu_throttled_ratio", 1.0, {"reason": "power"})) for seconds in (0, 3600)
    )
    assert faults(*told) == []


def test_the_same_reading_again_is_nothing_new():
    """A batch that is written twice tells its faults once."""
    watch = FaultWatch()
    first, second = scrape(0, ("gpu_xid_last_code", 0)), scrape(5, ("gpu_xid_last_code", 48))
    assert len(faults(first, second, watch=watch)) == 1
    assert faults(first, second, watch=watch) == []


def test_what_happened_while_nobody_looked_is_noticed():
    """Readings of an earlier process are where things stood."""
    key = (1, "gpu_xid_last_code", labels_of(CARD))
    watch = FaultWatch({key: (NOON - timedelta(hours=2), 13.0)})
    [fault] = faults(scrape(0, ("gpu_xid_last_code", 79)), watch=watch)
    assert fault.details.startswith("XID 79")


def test_cards_and_targets_do_not_mix():
    """Two cards with different codes are no change."""
    watch = FaultWatch()
    one = scrape(0, ("gpu_xid_last_code", 48))
    other = scrape(1, ("gpu_xid_last_code", 79, {"gpu": "4", "gpu_uuid": "GPU-b"}))
    elsewhere = scrape(2, ("gpu_xid_last_code", 31), target_id=2)
    assert faults(one, other, elsewhere, watch=watch) == []


def test_a_slice_and_a_card_without_a_node():
    """MIG slices are named by card and slice; without a node name the target stands in."""
    labels = {"gpu_instance": "2", "node": ""}
    told = (scrape(n, ("gpu_xid_last_code", 48 * n, labels)) for n in range(2))
    [fault] = faults(*told)
    assert (fault.node, fault.gpu) == ("target 1", "3/2")


signals = st.sampled_from(WATCHED_SIGNALS)
numbers = st.floats(min_value=0, max_value=1e14)
names = st.sampled_from(["", "idle", "thermal", "48", "no number", "9" * 400])


@given(st.lists(st.tuples(st.integers(0, 900), signals, numbers, names, names), max_size=40))
def test_no_reading_breaks_the_watch(told):
    """Whatever the values and labels, in any order of time: faults are rows the store takes."""
    watch = FaultWatch()
    for seconds, signal, number, reason, xid in told:
        found = watch.look(scrape(seconds, (signal, number, {"reason": reason, "xid": xid})))
        assert shaped(fault_frame(found), GPU_FAULT_FRAME).height == len(found)
        assert all(fault.ended_at is None or fault.ended_at > fault.started_at for fault in found)


class Writer:
    """Takes rows, or refuses them once."""

    def __init__(self, refusals=0):
        self.rows, self.refusals = [], refusals

    def append(self, table, frame):
        done = Future()
        if self.refusals:
            self.refusals -= 1
            done.set_exception(OSError("no room"))
        else:
            assert table == "gpu_fault"
            self.rows += frame.to_dicts()
            done.set_result(frame.height)
        return done


async def test_the_sink_writes_scrapes_and_faults():
    """Scrapes reach the inner sink, faults the store."""
    inner, writer = MemorySink(), Writer()
    sink = FaultSink(inner, writer)
    await sink.write([scrape(0, ("gpu_xid_last_code", 0))])
    await sink.write([scrape(5, ("gpu_xid_last_code", 48))])
    assert len(inner.scrapes) == 2
    [row] = writer.rows
    assert (row["node"], row["gpu"], row["kind"]) == ("gpu-node-7", "3", "xid")
    assert json.loads(row["details"])["text"].startswith("XID 48")
    await sink.aclose()
    await sink.aclose()


async def test_a_fault_survives_a_store_that_refuses():
    """The scheduler writes the batch again: the fault is still there, once."""
    inner, writer = MemorySink(), Writer(refusals=1)
    sink = FaultSink(inner, writer)
    batch = [scrape(0, ("gpu_xid_last_code", 0)), scrape(5, ("gpu_xid_last_code", 48))]
    with pytest.raises(OSError, match="no room"):
        await sink.write(batch)
    await sink.write(batch)
    assert len(writer.rows) == 1


async def test_seeds_that_cannot_be_read_stop_nothing(caplog):
    """Scrapes are worth more than an earlier reading."""

    def broken():
        raise OSError("gone")

    sink = FaultSink(MemorySink(), Writer(), seeds=broken)
    await sink.write([scrape(0, ("gpu_xid_last_code", 0))])
    assert "readings_not_found" in caplog.text


def test_last_readings_of_the_store_are_seeds():
    """A code that changed while the server was down is noticed after it, from the stored value."""
    told = scrape(0, ("gpu_xid_last_code", 13), ("gpu_ecc_uncorrected_total", 2))
    later = scrape(30, ("gpu_xid_last_code", 79), ("gpu_ecc_uncorrected_total", 2))
    with Database.open(None, StoreSettings(), VirtualClock(NOON)) as database:
        number = register(database.writer, "http://dcgm:9400/metrics", NOON).result()
        row = replace(told, target_id=number)
        for table, frame in frames([row]).items():
            if frame.height:
                database.writer.append(table, frame).result()
        found = last_readings(database.reader, WATCHED_SIGNALS, NOON - timedelta(hours=1))
        watch = FaultWatch(seeds_of(found.to_dicts()))
        [fault] = watch.look(replace(later, target_id=number))
        assert fault.details.startswith("XID 79")
        database.writer.append("gpu_fault", fault_frame([fault])).result()
        again = database.writer.append("gpu_fault", fault_frame([fault])).result()
        assert again == 0
        [kept] = gpu_faults(database.reader, NOON, NOON + timedelta(hours=1)).to_dicts()
        assert kept["text"] == fault.details


class Spool:
    """Keeps what it is given."""

    def __init__(self):
        self.batches = []

    def append(self, _kind, _rows, payload):
        self.batches.append(decode(gzip.decompress(payload)))
        return "disk"


class Ledger:
    """Has lost nothing."""

    def collect(self):
        pass

    def take(self):
        return ()


async def test_an_agent_notices_faults_in_the_pages_it_scrapes():
    """An exporter behind an agent is watched by the agent; cards it reads itself tell their own."""
    spool = Spool()
    sink = SpoolSink(spool, {1: "http://127.0.0.1:9400/metrics", 2: "gpu://n"}, Ledger())
    for seconds, code in ((0, 0), (5, 79)):
        told = ("gpu_xid_last_code", code)
        await sink.write([scrape(seconds, told), scrape(seconds, told, target_id=2)])
    assert [len(batch.faults) for batch in spool.batches] == [0, 1]
