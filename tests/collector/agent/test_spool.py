"""The spool loses nothing that it promised, whatever happens to process, file or disk."""

import errno
import os
import shutil
from datetime import UTC, datetime

import pytest

from collector.agent import segment as segment_file
from collector.agent import spool as spools
from collector.agent.settings import AgentSettings
from collector.agent.spool import Spool
from collector.drops import Drops
from store.clock import VirtualClock
from store.errors import CollectError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Bench:
    """A folder whose spool can be opened again and again."""

    def __init__(self, folder, **settings):
        self.folder = folder
        self.clock = VirtualClock(NOW)
        self.settings = AgentSettings(**{"spool_reserve_bytes": 0, **settings})
        self.drops = Drops()
        self.opened = []

    def open(self):
        self.opened.append(Spool(self.folder, self.settings, self.drops, self.clock).open())
        return self.opened[-1]

    def dropped(self):
        return {reason: count for (_, reason), count in self.drops.totals().items()}


@pytest.fixture
def make():
    """Makes benches, and closes every spool that was opened on them."""
    made = []

    def build(folder, **settings):
        made.append(Bench(folder, **settings))
        return made[-1]

    yield build
    for bench in made:
        for spool in bench.opened:
            spool.close()


@pytest.fixture
def bench(make, tmp_path):
    return make(tmp_path / "spool")


def drain(spool):
    """Deliver everything; the payloads in the order they came."""
    told = []
    while records := spool.peek(3):
        told += [record.payload for record in records]
        for record in records:
            spool.done(record)
    return told


def crash(spool):
    """What kill -9 leaves: descriptors gone, nothing tidied."""
    for descriptor in (spool._writing, spool._lock, spool._cursor._descriptor):
        if descriptor is not None:
            os.close(descriptor)
    if spool._reading is not None:
        spool._reading.close()
    spool._writing = spool._lock = spool._cursor._descriptor = spool._reading = None
    spool._segments.clear()


def test_records_come_out_once_and_in_order(bench):
    """What goes in comes out, and what was delivered does not come back after a restart."""
    spool = bench.open()
    for number in range(5):
        assert spool.append(1, 2, b"record %d" % number) == "disk"
    (first,) = spool.peek()
    assert spool.peek()[0] is first
    spool.done(first)
    crash(spool)
    again = bench.open()
    assert again.stats().records == 4
    assert again.stats().rows == 8
    assert drain(again) == [b"record %d" % number for number in range(1, 5)]
    again.close()
    assert list(bench.folder.glob("*.segment")) == []
    assert bench.dropped() == {}


def test_a_record_keeps_its_name_over_a_restart(bench):
    """The same batch goes under the same id, and no other batch ever does."""
    spool = bench.open()
    spool.append(1, 1, b"a")
    spool.append(1, 1, b"b")
    name = spool.peek()[0].batch_id
    crash(spool)
    again = bench.open()
    again.append(1, 1, b"c")
    assert again.peek()[0].batch_id == name
    names = []
    while records := again.peek():
        names.append(records[0].batch_id)
        again.done(records[0])
    assert len(set(names)) == 3


def test_a_kill_at_every_byte_leaves_every_whole_record(make, tmp_path):
    """Cut at each offset: whole records come out, the cut one is counted, work goes on."""
    bench = make(tmp_path / "whole")
    spool = bench.open()
    ends = []
    for number in range(4):
        spool.append(1, 1, b"x" * (7 * number) + b"%d" % number)
        ends.append(spool._segments[-1].size)
    crash(spool)
    (file,) = bench.folder.glob("*.segment")
    data = file.read_bytes()
    for cut in range(len(data) + 1):
        folder = tmp_path / f"cut{cut}"
        shutil.copytree(bench.folder, folder)
        (folder / file.name).write_bytes(data[:cut])
        other = make(folder)
        again = other.open()
        whole = sum(end <= cut for end in ends)
        at_border = cut in ends or cut <= segment_file.SEGMENT_HEADER_BYTES
        assert other.dropped() == ({} if at_border else {spools.CUT: 1}), cut
        again.append(1, 1, b"new")
        assert len(drain(again)) == whole + 1, cut
        again.close()
        shutil.rmtree(folder)


def test_a_damaged_byte_costs_one_record_or_is_known(make, tmp_path):
    """Any byte turned round: what comes out is what was written, the rest is counted."""
    bench = make(tmp_path / "whole")
    spool = bench.open()
    bodies = [b"first body", b"second body", b"third body"]
    for body in bodies:
        spool.append(1, 1, body)
    crash(spool)
    (file,) = bench.folder.glob("*.segment")
    data = bytearray(file.read_bytes())
    for at in range(len(data)):
        folder = tmp_path / "damaged"
        shutil.copytree(bench.folder, folder)
        data[at] ^= 0xFF
        (folder / file.name).write_bytes(data)
        data[at] ^= 0xFF
        other = make(folder)
        again = other.open()
        told = drain(again)
        assert set(told) <= set(bodies)
        assert len(told) == 3 or sum(other.dropped().values()) >= 1
        again.close()
        shutil.rmtree(folder)


@pytest.mark.parametrize("cut", range(0, 37, 3))
def test_a_lost_cursor_costs_a_resend_never_a_record(bench, cut):
    """A position cut at any byte: everything that waits comes out."""
    spool = bench.open()
    for number in range(3):
        spool.append(1, 1, b"%d" % number)
    spool.done(spool.peek()[0])
    crash(spool)
    cursor = bench.folder / "cursor"
    cursor.write_bytes(cursor.read_bytes()[:cut])
    told = drain(bench.open())
    assert told[-2:] == [b"1", b"2"]


def test_the_bound_in_bytes_drops_the_oldest_and_counts(make, tmp_path):
    """A spool that is full keeps the newest rows and tells how many went."""
    bench = make(tmp_path, spool_max_bytes=1 << 20)
    spool = bench.open()
    for number in range(300):
        spool.append(1, 10, b"%06d" % number + b"." * 10_000)
        assert spool.stats().bytes <= 1 << 20
    kept = [int(body[:6]) for body in drain(spool)]
    assert kept == list(range(300 - len(kept), 300))
    assert bench.dropped() == {spools.TOO_MUCH: 10 * (300 - len(kept))}
    assert len(kept) > 80


def test_the_bound_in_age_drops_and_counts(bench):
    """What waited for longer than allowed goes, also out of the segment in use."""
    spool = bench.open()
    spool.append(1, 3, b"old")
    bench.clock.advance(bench.settings.spool_max_age_seconds + 1)
    spool.append(1, 1, b"new")
    assert drain(spool) == [b"new"]
    assert bench.dropped() == {spools.TOO_OLD: 3}


def fail_writes(monkeypatch, free):
    """The disk has room for `free` more writes of records."""
    real, left = os.pwrite, [free]

    def pwrite(descriptor, data, offset):
        if left[0] <= 0:
            real(descriptor, bytes(data)[: len(data) // 2], offset)
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        return real(descriptor, data, offset)

    monkeypatch.setattr(segment_file.os, "pwrite", pwrite)


def test_a_full_disk_gives_up_the_oldest_then_uses_memory(bench, monkeypatch):
    """Rows of now are worth more than old ones; what does not fit is said, and nothing is torn."""
    old = bench.open()
    old.append(1, 5, b"old")
    crash(old)
    spool = bench.open()
    with monkeypatch.context() as patch:
        fail_writes(patch, 2)  # the header of a segment, and one record
        assert spool.append(1, 1, b"fits") == "disk"
        assert spool.append(1, 1, b"does not") == "memory"
    assert bench.dropped() == {spools.DISK_FULL: 5}
    assert spool.stats().in_memory == 1
    assert spool.append(1, 1, b"fits again") == "disk"
    assert drain(spool) == [b"fits", b"fits again", b"does not"]


def test_memory_is_bounded_when_the_disk_stays_full(bench, monkeypatch):
    """A disk that never takes anything costs at most a mebibyte of memory; the rest is counted."""
    spool = bench.open()
    fail_writes(monkeypatch, 0)
    for number in range(30):
        spool.append(1, 2, b"%02d" % number * 50_000)
    assert bench.dropped() == {spools.NO_ROOM: 40}
    spool.done(spool.peek()[0])
    spool.close()
    assert bench.dropped() == {spools.NO_ROOM: 58}


def test_little_free_disk_shrinks_the_spool(make, tmp_path):
    """An agent does not take the last space of its node: old segments go first."""
    bench = make(tmp_path)
    first = bench.open()
    first.append(1, 1, b"old")
    crash(first)
    bench.settings = AgentSettings(spool_reserve_bytes=1 << 62)
    spool = bench.open()
    spool.append(1, 1, b"new")
    spool.append(1, 1, b"newer")
    assert drain(spool) == [b"new", b"newer"]
    assert bench.dropped() == {spools.DISK_FULL: 1}


def test_one_agent_a_folder(bench):
    """A second agent on the same folder is refused in one line."""
    spool = bench.open()
    with pytest.raises(CollectError, match="another agent uses this spool"):
        bench.open()
    spool.close()
    bench.open().close()


def test_a_folder_that_cannot_be_used(make, tmp_path):
    """A file where the folder should be: one line, with the way out."""
    (tmp_path / "spool").write_text("")
    with pytest.raises(CollectError, match="cannot be used"):
        make(tmp_path / "spool").open()


def test_a_record_larger_than_the_spool_takes_is_counted(make, tmp_path):
    """Nothing goes unseen, not even what could never fit."""
    bench = make(tmp_path, spool_max_bytes=1 << 20)
    spool = bench.open()
    assert spool.append(1, 7, b"x" * 300_000) == "lost"
    assert bench.dropped() == {spools.TOO_LARGE: 7}


def test_numbers_go_on_when_segments_are_gone(bench):
    """A cursor of segments that somebody deleted never hides new ones."""
    spool = bench.open()
    for _ in range(3):
        spool.append(1, 1, b"a")
        spool.done(spool.peek()[0])
    crash(spool)
    for path in bench.folder.glob("*.segment"):
        path.unlink()
    again = bench.open()
    again.append(1, 1, b"b")
    crash(again)
    assert drain(bench.open()) == [b"b"]
