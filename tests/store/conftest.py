"""Stores in memory: one a test, and one for the many examples of a property."""

import pytest

from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(), WallClock()) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared():
    with Database.open(None, StoreSettings(), WallClock()) as opened:
        yield opened
