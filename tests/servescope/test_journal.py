"""What was answered is on disk: whole records come back, in order, whatever was cut."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servescope.journal import Journal

RECORDS = [("v1", b"first"), ("v2", b""), ("v1", bytes(range(256)) * 3), ("v1", b"last")]


def left(folder):
    return [record for _, *record in Journal(folder).load()]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


def test_records_come_back_in_order(folder):
    """Over several segments and two runs."""
    for part in (RECORDS[:2], RECORDS[2:]):
        journal = Journal(folder, segment_bytes=10)
        list(journal.load())
        for record in part:
            journal.add([record])
        journal.close()
    assert left(folder) == [list(record) for record in RECORDS]


def test_a_segment_that_nobody_needs_goes(folder):
    """Also the one that is being written; the next record begins another."""
    journal = Journal(folder)
    list(journal.load())
    first = journal.add(RECORDS[:1])
    assert journal.size_bytes > 0
    journal.drop(first)
    assert journal.size_bytes == 0
    assert list(folder.iterdir()) == []
    assert journal.add(RECORDS[1:2]) != first
    journal.close()
    journal.close()
    assert left(folder) == [list(RECORDS[1])]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_cut_or_damaged_end_costs_only_what_follows(tmp_path_factory, data):
    """A crash may stop at any byte; a disk may turn any bit."""
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    list(journal.load())
    for record in RECORDS:
        journal.add([record])
    journal.close()
    (segment,) = folder.iterdir()
    whole = segment.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        segment.write_bytes(whole[:place])
    else:
        bit = 1 << data.draw(st.integers(0, 7))
        segment.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
    found = left(folder)
    assert found == [list(record) for record in RECORDS[: len(found)]]
    assert len(found) < len(RECORDS)


def test_a_full_disk_leaves_no_half_record(folder, monkeypatch):
    """What could not be synced does not count, and the next record can be read."""
    journal = Journal(folder)
    list(journal.load())
    journal.add(RECORDS[:1])

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", full)
        with pytest.raises(OSError, match="No space"):
            journal.add(RECORDS[1:3])
    journal.add(RECORDS[3:])
    journal.close()
    assert left(folder) == [list(RECORDS[0]), list(RECORDS[3])]


def test_other_files_in_the_folder_are_left_alone(folder):
    """Only our own names are read."""
    folder.mkdir()
    (folder / "notes.txt").write_text("mine", "utf-8")
    assert left(folder) == []
