"""What is asked about a load, and from what it is answered."""

from __future__ import annotations

from predictors.base import Feature, Spec

MODEL, INSTANCE = "model", "instance"

# Known when the load is asked for, where the fleet tells them.
PHYSICAL = (
    "weight_bytes",
    "bandwidth_bytes_per_second",
    "concurrent_loads",
    "is_weights_cached",
    "is_compile_cached",
    "is_image_cached",
    "capture_sizes",
    "tensor_parallel",
    "memory_bytes",
)
# What has to be loaded: named by the request and not there yet (1), or there already (0).
ASKED = ("loads_weights", "loads_adapters", "loads_controls")
# Earlier loads of the same key (a container, a model on a host, a function's configuration).
OWN = (
    "own_loads", "own_last_log", "own_second_log", "own_third_log", "own_fourth_log",
    "own_gap_seconds", "own_second_gap_seconds", "own_third_gap_seconds",
    "own_median_log", "own_long_median_log", "own_low_log", "own_high_log", "own_least_log",
    "own_hit_log", "own_miss_log", "own_hit_share", "own_since_miss_seconds",
    "own_since_hit_seconds", "own_miss_at_gap", "own_miss_after_same", "own_log_at_gap",
    "own_same_run", "own_was_miss", "own_loads_3m", "own_loads_6m", "own_loads_12m",
    "own_loads_30m",
)  # fmt: skip
# The same of those earlier loads of the key that had to load the same parts.
ALIKE_OF = {
    name.replace("own_", "alike_"): name
    for name in ("own_last_log", "own_second_log", "own_median_log", "own_gap_seconds",
                 "own_hit_log", "own_miss_log", "own_miss_at_gap", "own_log_at_gap")
}  # fmt: skip
ALIKE = tuple(ALIKE_OF)
# Loads of all others, as far as they were known by then.
FLEET = tuple(
    f"fleet_{name}_{minutes}m"
    for minutes in (8, 30, 80)
    for name in ("loads", "miss_ratio_log", "hit_ratio_log", "miss_log", "miss_share", "high_log")
)
SIGNALS = (
    "gpu_memory_bytes",
    "gpu_busy_ratio",
    "host_memory_ratio",
    "request_seconds",
    "predict_seconds",
    "switch_seconds",
    "queue_seconds",
    "adapter_load_seconds",
    "control_load_seconds",
)
SIGNAL_SHAPES = ("last", "second", "mean", "least", "most", "count", "age_seconds", "since_load")
TELEMETRY = tuple(f"{signal}_{shape}" for signal in SIGNALS for shape in SIGNAL_SHAPES)
FEATURES = PHYSICAL + ASKED + OWN + ALIKE + FLEET + TELEMETRY

SPEC = Spec(
    name="cold-start",
    quantity="load_seconds",
    unit="s",
    features=tuple(Feature(name, "number") for name in FEATURES),
    keys=(MODEL, INSTANCE),
    lower=0.0,
    is_log=True,
    rival="previous load",
)
