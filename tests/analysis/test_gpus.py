"""The view of cards: newest readings, holders, faults, and why there is nothing."""

import json
from datetime import timedelta

import polars as pl
import pytest

from analysis.views import compute
from collector.agent.wire import GpuFault
from collector.starts.faults import fault_frame
from store.clock import VirtualClock
from store.queries import faults as faults_queries
from store.queries.scope import Scope
from store.signals import SIGNALS
from store.targets import register


@pytest.fixture
def tell(database, live_scope):
    """Store readings of a card some seconds before the end of the scope."""
    number = register(database.writer, "http://n1:9400/metrics", live_scope.start).result()

    def store(seconds_ago, *told):
        at = (live_scope.end - timedelta(seconds=seconds_ago)).replace(tzinfo=None)
        rows = [
            {
                "target_id": number,
                "signal": signal,
                "kind": SIGNALS[signal].kind,
                "unit": SIGNALS[signal].unit,
                "labels": json.dumps(labels, sort_keys=True),
                "sampled_at": at,
                "value": float(value),
            }
            for signal, value, labels in told
        ]
        database.writer.append("sample", pl.DataFrame(rows)).result()

    return store


def view(database, scope):
    return compute("gpus", database.reader, scope, clock=VirtualClock(scope.end))


def card(number, **more):
    return {"node": "n1", "gpu": str(number), "gpu_uuid": f"GPU-{number}", **more}


def test_each_card_with_its_newest_reading(database, live_scope, tell):
    """The newest value counts, a card not seen for five minutes is left out."""
    tell(400, ("gpu_power_watts", 99, card(7)))
    tell(60, ("gpu_power_watts", 300, card(0)), ("gpu_busy_ratio", 0.5, card(0)))
    tell(30, ("gpu_power_watts", 350, card(0)), ("gpu_power_watts", 70, card(1)))
    tell(
        30,
        ("gpu_present", 1, card(0, gpu_model="H100")),
        ("gpu_held", 1, card(0, pod="b")),
        ("gpu_held", 1, card(0, pod="a")),
    )
    found = view(database, live_scope)
    first, second = found.frames["cards"].to_dicts()
    assert (first["gpu"], first["power_watts"], first["busy_ratio"]) == ("0", 350, 0.5)
    assert (first["gpu_model"], first["pods"]) == ("H100", "a, b")
    assert (second["gpu"], second["power_watts"], second["busy_ratio"]) == ("1", 70, None)
    assert found.measures["cards"].value == 2
    assert found.measures["busy_ratio"].value == 0.5
    assert found.empty is None


def test_slices_of_a_card_are_rows_of_their_own(database, live_scope, tell):
    """Under MIG the compute engine's share stands in for the utilisation that is not told."""
    tell(
        10,
        ("gpu_engine_active_ratio", 0.75, card(0, gpu_instance="1")),
        ("gpu_engine_active_ratio", 0.25, card(0, gpu_instance="2")),
    )
    cards = view(database, live_scope).frames["cards"]
    assert cards["gpu_instance"].to_list() == ["1", "2"]
    assert cards["busy_ratio"].to_list() == [0.75, 0.25]


def test_faults_of_the_range_are_told(database, live_scope):
    """The newest first, in words; one outside the range is not."""
    at = live_scope.end - timedelta(minutes=10)
    faults = [
        GpuFault("n1", "3", at, None, "xid", "XID 79: the card has fallen off the bus"),
        GpuFault("n1", "2", live_scope.start - timedelta(hours=1), None, "ecc", "long ago"),
    ]
    database.writer.append("gpu_fault", fault_frame(faults)).result()
    found = view(database, live_scope)
    assert found.frames["faults"]["text"].to_list() == ["XID 79: the card has fallen off the bus"]
    assert found.sentences[0].startswith("n1, card 3: XID 79")
    assert found.measures["faults"].value == 1


def test_of_many_faults_all_are_counted(database, live_scope, monkeypatch):
    """The frame holds the newest only; the number is that of the range."""
    monkeypatch.setattr(faults_queries, "MOST_FAULTS", 2)
    faults = [
        GpuFault("n1", "3", live_scope.end - timedelta(minutes=back), None, "xid", f"XID {back}")
        for back in (10, 20, 30)
    ]
    database.writer.append("gpu_fault", fault_frame(faults)).result()
    found = view(database, live_scope)
    assert found.frames["faults"]["text"].to_list() == ["XID 10", "XID 20"]
    assert (found.total("faults"), found.measures["faults"].value) == (3, 3)


def test_without_cards_the_view_says_what_to_do(database, live_scope):
    """Nothing connected is told apart from a trace that can have no cards."""
    found = view(database, live_scope)
    assert found.empty.kind == "nothing_connected"
    assert "servescope agent" in found.empty.text
    assert found.measures["cards"].value is None
    trace = Scope((2,), live_scope.start, live_scope.end)
    assert view(database, trace).empty.kind == "metric_absent"
