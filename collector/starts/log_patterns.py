"""What engines print while they start, as data.

Read in captured logs of vLLM 0.32.0 (CPU) and llama-server 0.3.36; the GPU lines of vLLM in its
source (`v1/worker/gpu_model_runner.py`, `compilation/backends.py`, 0.32.0).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Clock = Literal["date", "since_start"]

_SECONDS = r"(?P<seconds>\d{1,7}(?:\.\d{1,9})?)"
"""A number that can be one, and a time: `.5.4` and a thousand nines are neither."""


@dataclass(frozen=True, slots=True)
class LogStep:
    """What one line says about the start.

    Attributes:
        pattern: searched in the line; a group `seconds` says how long what has just ended took.
        begins: phase that begins with this line; the one that was going on ends.
        took: phase that ended here and lasted `seconds`.
        mark: "ready" or "failed".
    """

    pattern: re.Pattern[str]
    begins: str = ""
    took: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class LogFormat:
    """How one engine's log is read.

    Attributes:
        engine: its name.
        stamp: finds the time of a line.
        clock: "date" (month, day and time of the host's zone, no year) or "since_start" (minutes,
            seconds, milliseconds and microseconds since the process began).
        first: phase that goes on when the first stamped line comes.
        steps: tried in order; the first that matches counts.
    """

    engine: str
    stamp: re.Pattern[str]
    clock: Clock
    first: str
    steps: tuple[LogStep, ...]


def _step(pattern: str, **says: str) -> LogStep:
    return LogStep(re.compile(pattern), **says)


VLLM = LogFormat(
    "vllm",
    re.compile(
        r"\b(?:INFO|WARNING|ERROR|DEBUG) "
        r"(?P<month>\d\d)-(?P<day>\d\d) (?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d) "
    ),
    "date",
    "process",
    (
        _step(r"Initializing a V1 LLM engine", begins="engine"),
        _step(r"Starting to load model", begins="weights"),
        _step(
            rf"Loading weights took {_SECONDS} seconds",
            took="weights",
            begins="engine",
        ),
        _step(
            rf"Model loading took .+ and {_SECONDS} seconds",
            took="model",
            begins="engine",
        ),
        _step(rf"Dynamo bytecode transform time: {_SECONDS} s", took="compile"),
        _step(rf"Compiling a graph .+ takes {_SECONDS} s", took="compile"),
        _step(
            rf"Graph capturing finished in {_SECONDS} secs",
            took="graph_capture",
        ),
        _step(r"(?:CPU|GPU) KV cache size: [\d,]+ tokens", begins="engine"),
        _step(
            rf"init engine \(profile, create kv cache, warmup model\) took {_SECONDS} s",
            took="warmup",
            begins="api_server",
        ),
        _step(r"EngineCore failed to start|Engine core initialization failed", mark="failed"),
        _step(r"Application startup complete", mark="ready"),
    ),
)
LLAMA_SERVER = LogFormat(
    "llama.cpp",
    re.compile(r"^(?P<minute>\d+)\.(?P<second>\d\d)\.(?P<milli>\d{3})\.(?P<micro>\d{3}) [A-Z] "),
    "since_start",
    "process",
    (
        _step(r"load_model: loading model", begins="weights"),
        _step(r"load_model: initializing, n_slots", begins="kv_cache"),
        _step(r"llama_server: model loaded", begins="api_server"),
        _step(r"error loading model|failed to load model|exiting due to", mark="failed"),
        _step(r"llama_server: listening on|server is listening on", mark="ready"),
    ),
)
FORMATS: Mapping[str, LogFormat] = MappingProxyType(
    {item.engine: item for item in (VLLM, LLAMA_SERVER)}
)
