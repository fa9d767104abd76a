"""A real document of the view `top`, as the API gives it."""

import importlib.util
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from analysis.slo_model import Slo
from analysis.views import compute
from servescope.documents import plain, view_document
from store.clock import VirtualClock, WallClock
from store.database import Database
from store.queries.catalog import sources
from store.queries.scope import Scope
from store.settings import StoreSettings

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ROWS = Path(__file__).parents[2] / "dashboard" / "cost_rows.py"


@pytest.fixture(scope="session")
def document():
    """Two pools, four replicas, three tenants, and an objective that burns."""
    spec = importlib.util.spec_from_file_location("servescope_cost_rows", ROWS)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    slos = [Slo("chat-ttft", "ttft", 0.99, 43_200.0, ttft_seconds=0.5),
            Slo("chat-e2e", "e2e", 0.9, 43_200.0, e2e_seconds=60.0)]  # fmt: skip
    settings = StoreSettings(memory_limit_bytes=256 << 20)
    with Database.open(None, settings, WallClock()) as database:
        module.fill(database, NOW)
        scope = Scope((1,), NOW.replace(hour=11, minute=45), NOW)
        view = compute("top", database.reader, scope, slos=slos, clock=VirtualClock(NOW))
        return plain(view_document(view, sources(database.reader)))
