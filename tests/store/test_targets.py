"""Targets that are found together."""

from datetime import UTC, datetime

import pytest

from store import targets
from store.clock import VirtualClock
from store.database import Database
from store.settings import StoreSettings
from store.targets import Noted

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(), VirtualClock(NOW)) as opened:
        yield opened


def listed(database):
    frame = database.reader.frame(
        "SELECT url, engine, model, removed_at IS NULL AS there FROM target ORDER BY target_id"
    )
    return frame.rows()


def test_new_ones_are_made_and_known_ones_keep_their_number(database):
    """Whatever the order, one URL has one number."""
    writer = database.writer
    first = targets.note(writer, {"a": Noted(NOW, "vllm", "m"), "b": Noted(NOW)}).result()
    again = targets.note(writer, {"c": Noted(NOW), "b": Noted(NOW, "sglang")}).result()
    assert len({*first.values(), *again.values()}) == 3
    assert again["b"] == first["b"]
    assert listed(database) == [
        ("a", "vllm", "m", True), ("b", "sglang", None, True), ("c", None, None, True)
    ]  # fmt: skip


def test_what_is_not_told_stays_and_the_removed_come_back(database):
    """None says nothing about engine and model."""
    writer = database.writer
    first = targets.note(writer, {"a": Noted(NOW, "vllm", "m")}).result()
    targets.remove(writer, "a", NOW).result()
    assert listed(database) == [("a", "vllm", "m", False)]
    assert targets.note(writer, {"a": Noted(NOW)}).result() == first
    assert listed(database) == [("a", "vllm", "m", True)]
