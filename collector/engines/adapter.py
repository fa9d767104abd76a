"""What an engine adapter is: rows that say which exposed metric feeds which signal.

A new engine is a new table of `Rule` rows (see `vllm.py`), one entry in `registry.py` and a
captured page in the tests. There is no code per engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Across = Literal["sum", "mean", "max", "newest"]
Reads = Literal["value", "label_number", "label_names"]

MODEL: Mapping[str, str] = {"model_name": "model"}

# Colons become underscores when a scraper negotiates OpenMetrics without `escaping=allow-utf-8`
# (client_python 0.23 and later) and under Ray, which also puts its own name in front.
_PREFIX = re.compile(r"(?:ray_)?(vllm|sglang|lmdeploy|llamacpp|trtllm|tgi)[:_](?=.)")


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of an adapter: family on the wire -> canonical signal.

    Args:
        family: name behind the engine's prefix; of a counter, `_total` may be there or not.
        signal: name in `store.signals`; it gives the kind and the unit.
        labels: exposed label -> our label; every other label is aggregated over.
        across: how series that fall together are put together. `newest` takes the series with the
            largest exposed value, for info families whose value is a time.
        factor: exposed value times this is our unit (edges and sums of a histogram too).
        where: only series that carry these label values.
        reads: the number is the exposed value, a number in the label `label`, or how many
            comma-separated names that label holds.
        label: the label that `reads` means.
        prefixed: False for a family without the engine's prefix, such as `process_*`.
        fallback: read only when no other rule fed the signal from this page; for old names, which
            engines show beside the new ones for a release or two.
        versions: engine versions that expose it, for people; rules go by the name on the page.
        note: what to know before trusting it.
    """

    family: str
    signal: str
    labels: Mapping[str, str] = field(default_factory=lambda: MODEL)
    across: Across = "sum"
    factor: float = 1.0
    where: tuple[tuple[str, str], ...] = ()
    reads: Reads = "value"
    label: str = ""
    prefixed: bool = True
    fallback: bool = False
    versions: str = "all"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine or exporter.

    Args:
        name: what the store and the pages call it.
        prefix: what its metric names begin with.
        rules: the adapter.
        ignored: families left out on purpose, with the reason.
        facts: paths to ask for version and model, with the keys to look under.
        restart_header: response header that changes when the process restarts.
    """

    name: str
    prefix: str
    rules: tuple[Rule, ...]
    ignored: Mapping[str, str]
    facts: tuple[Fact, ...] = ()
    restart_header: str | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """Where an engine tells what it is: a JSON answer at `path`, read along `keys`."""

    path: str
    keys: tuple[str | int, ...]
    about: Literal["engine_version", "model"]


def split_name(name: str) -> tuple[str | None, str]:
    """The engine prefix of a metric name (None when there is none) and the rest.

    >>> split_name("ray_vllm_num_requests_running")
    ('vllm', 'num_requests_running')
    """
    found = _PREFIX.match(name)
    return (found[1], name[found.end() :]) if found else (None, name)


PROCESS_RULES = (
    Rule(
        "process_start_time_seconds",
        "engine_start_unix_seconds",
        labels={},
        across="max",
        prefixed=False,
        note="The process that serves the page; engine cores may have restarted on their own.",
    ),
    Rule("process_resident_memory_bytes", "process_memory_bytes", labels={}, prefixed=False),
    Rule("process_cpu_seconds_total", "process_cpu_seconds_total", labels={}, prefixed=False),
)
