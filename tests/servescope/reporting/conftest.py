"""A server's reports over a real store, with a clock that is told to move and a quick maker."""

import importlib.util
import json
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from servescope.reporting.service import Reporting
from servescope.reporting.settings import ReportsSettings
from servescope.reporting.shelf import MANIFEST
from servescope.reporting.workshop import NotMade
from store.clock import VirtualClock
from store.database import Database
from store.settings import StoreSettings

MONDAY = datetime(2026, 11, 16, 6, 0, tzinfo=UTC)


class Press:
    """Makes the smallest report there is; remembers what it made, and fails when it is told to."""

    def __init__(self):
        self.orders, self.problem, self.skips = [], None, None

    def __call__(self, order, folder, stop):
        if self.problem:
            raise NotMade(self.problem)
        self.orders.append((order.definition.name, order.period))
        page = f"<h1>{order.period}</h1>".encode()
        (folder / "page.html").write_bytes(page)
        (folder / "chart.png").write_bytes(b"png")
        manifest = {
            "outcome": "skipped" if self.skips else "made", "reason": self.skips or "",
            "title": "Weekly report", "template": order.definition.template,
            "period": order.period, "words": order.period, "link": "http://127.0.0.1:1/ui/",
            "lines": ["all is well & <good>", "nothing to do"], "sections": 3, "charts": 4,
            "bytes": len(page), "text": "all is well\n",
            "html": '<html><body><img src="cid:chart.png"></body></html>',
            "files": [
                {"name": "page.html", "media_type": "text/html; charset=utf-8",
                 "bytes": len(page), "role": "report"},
                {"name": "chart.png", "media_type": "image/png", "bytes": 3, "role": "picture"},
            ],
        }  # fmt: skip
        (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
        return manifest


class Bureau:
    """Reports of one server after another over one store."""

    def __init__(self, path, start=MONDAY):
        self.path, self.clock, self.press = path, VirtualClock(start), Press()

    @contextmanager
    def open(self, schedules=(), channels=(), **more):
        settings = ReportsSettings(schedule=tuple(schedules), channel=tuple(channels), **more)
        with Database.open(self.path / "store.duckdb", StoreSettings(), self.clock) as database:
            made = Reporting(settings, database, self.clock, None, self.press)
            made.prepare()
            made.book.keep_written()
            made.database = database
            yield made
            made.close()


@pytest.fixture
def bureau(tmp_path):
    return Bureau(tmp_path)


@pytest.fixture
def weekly():
    return {"name": "weekly", "template": "weekly", "when": "weekly mon 08:00",
            "zone": "Europe/Berlin"}  # fmt: skip


def load_doubles():
    """The module of test doubles, loaded by its path: tests are no package."""
    name = "servescope_reporting_doubles"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "doubles.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def doubles():
    """SMTP, HTTP and S3 servers on sockets of their own."""
    return load_doubles()
