"""Which signal comes from which engine, as far as adapters and the store tell."""

from datetime import UTC, datetime

from analysis.signal_coverage import SignalSource, signal_coverage

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def adapters(engine, version):
    if engine != "vllm":
        return {}
    return {
        "requests_waiting": SignalSource("exact", "vllm:num_requests_waiting"),
        "requests_running": SignalSource("exact", "vllm:num_requests_running"),
        "kv_cache_capacity_tokens": SignalSource("derived", "blocks * block"),
        "queue_busy_seconds_total": SignalSource("absent", "no such family"),
    }


def covered(database, scope):
    return signal_coverage(database.reader, scope, now=NOW, adapters=adapters)


def test_a_signal_is_told_quiet_or_absent(database, add_target, live_scope):
    """What an engine shows, could show and does not tell are three different things."""
    add_target("http://gpu-1:8000/metrics", requests_waiting=1)
    view = covered(database, live_scope)
    states = dict(view.frames["signals"].select("signal", "state").iter_rows())
    assert states == {
        "requests_waiting": "exact",
        "requests_running": "quiet",
        "kv_cache_capacity_tokens": "quiet",
        "queue_busy_seconds_total": "absent",
    }
    (sentence,) = view.sentences
    assert "1 signals exactly" in sentence
    assert "1 it does not tell" in sentence


def test_targets_of_one_release_are_counted_together(database, add_target, live_scope):
    """One column for a release, and how many of its targets told a signal."""
    add_target("http://gpu-1:8000/metrics", requests_waiting=1)
    add_target("http://gpu-2:8000/metrics", requests_running=1)
    rows = covered(database, live_scope).frames["signals"].to_dicts()
    told = {row["signal"]: (row["told_by"], row["targets"]) for row in rows}
    assert told["requests_waiting"] == told["requests_running"] == (1, 2)
    assert told["kv_cache_capacity_tokens"] == (0, 2)


def test_trap_02_engines_that_measure_different_things_are_named(database, add_target, live_scope):
    """Two engines under one signal's name, and the page says that they do not compare."""
    add_target("http://gpu-1:8000/metrics", requests_waiting=1)
    add_target("http://gpu-2:8000/metrics", requests_waiting=1, engine="sglang")

    def two(engine, version):
        return {"requests_waiting": SignalSource("exact", "x", defined_as=f"as {engine} counts")}

    view = signal_coverage(database.reader, live_scope, now=NOW, adapters=two)
    assert view.sentences[0] == (
        "requests_waiting does not compare between engines "
        "(sglang: as sglang counts; vllm: as vllm counts)."
    )
    assert not any("compare" in line for line in covered(database, live_scope).sentences)


def test_nothing_connected_covers_nothing(database, live_scope):
    """An empty store says so instead of showing an empty table."""
    view = covered(database, live_scope)
    assert view.frames["signals"].is_empty()
    assert view.empty.kind == "nothing_connected"
