"""The alert about a slowed instance: what the page Degradation says, without a trained model."""

import importlib.util
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from analysis.alerts.rules import RULES, Watch
from analysis.views import compute
from servescope.alerting.asking import Asking
from servescope.alerting.settings import AlertSettings
from store.clock import VirtualClock
from store.database import Database
from store.queries.scope import Scope
from store.settings import StoreSettings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RULE = "instance-degraded"


@pytest.fixture
def fleet():
    """Engine a is 1.7 times slower for a quarter of an hour, b 1.2 times, c never; d is away."""
    place = Path(__file__).parents[2] / "data" / "degraded_fleet.py"
    spec = importlib.util.spec_from_file_location("servescope_degraded_fleet", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with Database.open(None, StoreSettings(threads=1), VirtualClock(NOW)) as database:
        made = module.Fleet(database, NOW)
        made.engine("http://a:8000/metrics", {(900, 0): 1.7})
        made.engine("http://b:8000/metrics", {(900, 0): 1.22})
        made.engine("http://c:8000/metrics")
        made.engine("http://d:8000/metrics", until_ago=1800.0)
        yield made


def test_it_fires_for_what_is_surely_slow_and_says_what_the_page_says(fleet):
    """Slower than the limit with all of the interval; what is silent is unknown, not well."""
    limits = {name: limit.value for name, limit in RULES[RULE].limits.items()}
    readings = RULES[RULE].ask(Watch(fleet.database.reader, NOW, limits=limits))
    found = {one.labels["instance"]: one for one in readings}
    told = {name: one.active for name, one in found.items()}
    assert told == {"a:8000": True, "b:8000": False, "c:8000": False, "d:8000": None}
    one = found["a:8000"]
    assert (one.link.page, one.link.params["instance"]) == ("degradation", "a:8000")
    scope = Scope((1,), NOW - timedelta(hours=1), NOW, instances=("a:8000",))
    view = compute("degradation", fleet.database.reader, scope, clock=VirtualClock(NOW))
    assert view.sentences[0].startswith(one.summary.removesuffix("."))
    assert one.value == view.measures["worst_slowdown"].value


def test_it_is_asked_once_a_minute(fleet):
    """Seven hours of samples are not read at every look; its last answer stands."""
    (chosen,) = (one for one in AlertSettings().chosen() if one.rule.name == RULE)
    asking = Asking(fleet.database, (chosen,), None, 0.0)
    first = asking.ask((), NOW)[RULE]
    assert asking.ask((), NOW + timedelta(seconds=59))[RULE] is first
    assert asking.ask((), NOW + timedelta(seconds=60))[RULE] is not first
