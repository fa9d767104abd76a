"""What the collector's tables say, as analysis is told."""

from collector.engines.registry import ENGINES
from servescope.adapters import signal_sources, signals_of
from store.signals import ENGINE_SIGNALS


def test_an_engine_answers_for_every_engine_signal():
    """Told, worked out or absent with a reason: nothing is left open."""
    told = signal_sources("tgi", None)
    assert list(told) == [signal.name for signal in ENGINE_SIGNALS]
    assert all(source.how for source in told.values())
    assert told["kv_cache_usage_ratio"].state == "derived"


def test_a_release_has_its_own_column():
    """An old release is judged by its own names."""
    assert "gpu_cache_usage_perc" in signal_sources("vllm", "0.8.5")["kv_cache_usage_ratio"].how
    assert "kv_cache_usage_perc" in signal_sources("vllm", "0.32.0")["kv_cache_usage_ratio"].how


def test_a_gateway_is_asked_about_what_it_tells_only():
    """Ray Serve is not blamed for knowing no blocks."""
    assert "kv_cache_capacity_blocks" not in signals_of(ENGINES["ray-serve"])
    assert signal_sources("ray-serve", None)["ttft_seconds"].state == "absent"


def test_an_engine_without_adapter_says_nothing():
    """Unknown stays unknown."""
    assert signal_sources("mystery", "1.0") == {}
