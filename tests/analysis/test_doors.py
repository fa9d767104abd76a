"""An engine that is told through two doors counts once, and its second door is named."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from analysis.doors import address, counted_targets, second_doors
from analysis.fleet import fleet
from analysis.trust import trust, usable
from store.clock import VirtualClock
from store.database import Database
from store.queries import telemetry
from store.queries.scope import Scope
from store.settings import StoreSettings
from store.targets import Noted, note

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCOPE = Scope((1,), NOW - timedelta(hours=1), NOW)
SCRAPED = "http://gpu-1:8000/metrics"
PUSHED = "remote-write://vllm/gpu-1:8000"
BY_OTLP = "otlp://vllm/gpu-1:8000"
GAUGE = {"signal": "requests_running", "kind": "gauge", "unit": "requests", "labels": "{}"}
BY_AGENT = "agent://gpu-1/http://localhost:8000/metrics"


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(threads=1), VirtualClock(NOW)) as opened:
        yield opened


def tell(database, url, hours=2, ago=0, engine="vllm", model="m"):
    """A target that was added some hours ago and told its queue until `ago` seconds before NOW."""
    noted = Noted(NOW - timedelta(hours=hours), engine, model)
    number = note(database.writer, {url: noted}).result()[url]
    last = NOW.replace(tzinfo=None) - timedelta(seconds=ago)
    at = [last - timedelta(seconds=15 * step + 1) for step in range(20)]
    shared = {"target_id": [number] * len(at)}
    scrapes = {"scraped_at": at, "duration_seconds": [0.0] * len(at), "outcome": ["ok"] * len(at)}
    samples = pl.DataFrame({**shared, "sampled_at": at}).with_columns(
        *(pl.lit(text).alias(name) for name, text in GAUGE.items()), value=4.0
    )
    database.writer.append("scrape", pl.DataFrame({**shared, **scrapes})).result()
    database.writer.append("sample", samples).result()
    return number


def counted(database):
    return set(counted_targets(database.reader, NOW)["url"])


@pytest.mark.parametrize("other", [PUSHED, BY_OTLP, BY_AGENT])
def test_totals_of_the_fleet_count_an_engine_once(database, other):
    """Whatever the second door is; the one that was there first counts."""
    tell(database, SCRAPED)
    tell(database, other, hours=1)
    shown = fleet(database.reader, SCOPE, slos=[])
    assert shown.measures["requests_running"].value == 4.0
    assert shown.measures["instances_ready"].value == 1.0
    assert counted(database) == {SCRAPED}


def test_the_second_door_is_graded_with_advice(database):
    """An SRE reads which of the two to stop, and no decision rests on both."""
    tell(database, SCRAPED, hours=1)
    tell(database, PUSHED)
    found = {one.url: one for one in usable(database.reader, ["requests_running"], NOW)}
    assert found[SCRAPED].grade == "two_scrapers"
    assert not found[SCRAPED].is_usable
    assert PUSHED in found[SCRAPED].evidence
    assert "Stop one" in found[SCRAPED].advice
    assert found[PUSHED].is_usable
    shown = trust(database.reader, SCOPE, now=NOW).frames["targets"]
    assert dict(zip(shown["url"], shown["grade"], strict=True))[SCRAPED] == "two_scrapers"


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("remote-write://vllm/gpu-2:8000", {}),
        ("remote-write://vllm/gpu-1:8001", {}),
        ("remote-write://vllm/localhost:8000", {}),
        ("http://gpu-1:8000/other", {}),
        (PUSHED, {"model": "another"}),
        (PUSHED, {"engine": "sglang"}),
        (PUSHED, {"engine": None}),
        (PUSHED, {"ago": 400}),
    ],
)
def test_what_may_be_another_engine_counts_for_itself(database, url, more):
    """Another place, model, engine or page of the same door; or a door that tells no more."""
    tell(database, SCRAPED)
    tell(database, url, **more)
    assert counted(database) == {SCRAPED, url}


def test_a_door_that_ends_hands_over(database):
    """When the first one tells nothing any more, the second one counts."""
    tell(database, SCRAPED, ago=400)
    tell(database, PUSHED, hours=1)
    assert PUSHED in counted(database)


def test_three_doors_of_one_engine_are_one(database):
    """All but the first are second."""
    numbers = [tell(database, url, hours=9 - place)
               for place, url in enumerate((BY_OTLP, SCRAPED, PUSHED))]  # fmt: skip
    found = second_doors(telemetry.targets(database.reader, NOW), NOW)
    assert found == dict.fromkeys(numbers[1:], BY_OTLP)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://GPU-1:8000/metrics", "gpu-1:8000"),
        ("remote-write://vllm/[fd00::1]:80", "fd00::1:80"),
        ("agent://node-7/http://127.0.0.1:9/metrics", "node-7:9"),
        ("agent://node-7/http://gpu-3:9/metrics", "gpu-3:9"),
        ("http://127.0.0.1:9/metrics", None),
        ("otlp://llama/0f1c", None),
        ("otlp://llama", None),
        ("remote-write://vllm/gpu:99999999", None),
        ("gpu://node/0", None),
        ("", None),
    ],
)
def test_an_address_is_host_and_port_or_nothing(url, found):
    """A number of a process or the loopback names no instance."""
    assert address(url) == found
