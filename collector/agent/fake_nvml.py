"""A double of `pynvml` for tests and for machines without a GPU: the calls that we make, no more.

`benchmarks/nvml_live.py` holds what it answers against a real card.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    """As pynvml's: `value` is the code."""

    def __init__(self, value: int) -> None:
        super().__init__({3: "Not Supported", 10: "Timeout", 15: "GPU is lost"}.get(value, value))
        self.value = value


@dataclass(slots=True)
class FakeCard:
    """One card, in NVML's units. A function named in `errors` fails with that code."""

    uuid: str = "GPU-5c1f0b1e-0000-4000-8000-000000000001"
    name: str = "NVIDIA H200"
    power_milliwatts: int = 412_000
    power_limit_milliwatts: int = 700_000
    energy_millijoules: int = 9_000_000_000
    temperature_celsius: int = 61
    memory_temperature_celsius: int = 70
    sm_clock_megahertz: int = 1_980
    memory_clock_megahertz: int = 3_201
    clock_reasons: int = 0
    ecc_corrected: int = 0
    ecc_uncorrected: int = 0
    busy_percent: int = 93
    memory_busy_percent: int = 41
    memory_total_bytes: int = 150_754_820_096
    memory_reserved_bytes: int = 629_145_600
    memory_used_bytes: int = 120_000_000_000
    pcie_sent_bytes: int = 7_000_000
    pcie_received_bytes: int = 8_000_000
    link_sent_kibibytes: int = 1_000
    link_received_kibibytes: int = 2_000
    throttled_nanoseconds: int = 1_500_000_000
    processes: dict[int, int | None] = field(default_factory=lambda: {4121: 119_000_000_000})
    errors: dict[str, int] = field(default_factory=dict)


class FakeNvml:
    """Stands for the module.

    Args:
        cards: the cards of the node.
    """

    NVMLError = NVMLError
    nvmlMemory_v2 = 33554472  # noqa: N815 - pynvml's name
    nvmlEventTypeXidCriticalError = 8  # noqa: N815 - same
    NVML_FI_DEV_MEMORY_TEMP = 82
    NVML_FI_DEV_PCIE_COUNT_TX_BYTES = 197
    NVML_FI_DEV_PCIE_COUNT_RX_BYTES = 198
    NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX = 138
    NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX = 139
    NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL = 52

    def __init__(self, cards: Sequence[FakeCard]) -> None:
        self.cards = list(cards)
        self.events: deque[tuple[FakeCard, int]] = deque()
        self.calls: list[str] = []

    def xid(self, gpu: int, code: int) -> None:
        """A card reports an error."""
        self.events.append((self.cards[gpu], code))

    def __getattr__(self, function: str) -> Any:
        """NVML's functions, looked up by name so that each can be made to fail."""
        if function in _MODULE:
            return partial(_MODULE[function], self)
        if function not in _ANSWERS:
            raise AttributeError(function)

        def call(card: FakeCard, *arguments: Any) -> Any:
            self.calls.append(function)
            if function in card.errors:
                raise NVMLError(card.errors[function])
            return _ANSWERS[function](card, *arguments)

        return call


def _wait(nvml: FakeNvml, events: object, timeout_milliseconds: int) -> Any:
    del events, timeout_milliseconds
    if not nvml.events:
        raise NVMLError(10)
    card, code = nvml.events.popleft()
    return SimpleNamespace(device=card, eventType=8, eventData=code)


_MODULE: dict[str, Any] = {
    "nvmlInit": lambda nvml: None,
    "nvmlShutdown": lambda nvml: nvml.calls.append("nvmlShutdown"),
    "nvmlSystemGetDriverVersion": lambda nvml: "580.95.05",
    "nvmlDeviceGetCount": lambda nvml: len(nvml.cards),
    "nvmlDeviceGetHandleByIndex": lambda nvml, number: nvml.cards[number],
    "nvmlDeviceGetIndex": lambda nvml, card: [it is card for it in nvml.cards].index(True),
    "nvmlEventSetCreate": lambda nvml: object(),
    "nvmlEventSetFree": lambda nvml, events: None,
    "nvmlDeviceRegisterEvents": lambda nvml, card, kinds, events: None,
    "nvmlEventSetWait_v2": _wait,
}


def _field(card: FakeCard, number: int) -> Any:
    told = {
        82: (1, "uiVal", card.memory_temperature_celsius),
        197: (3, "ullVal", card.pcie_sent_bytes),
        198: (3, "ullVal", card.pcie_received_bytes),
        138: (3, "ullVal", card.link_sent_kibibytes),
        139: (3, "ullVal", card.link_received_kibibytes),
    }
    if number not in told or f"field {number}" in card.errors:
        return SimpleNamespace(nvmlReturn=3, valueType=0, value=None)
    kind, name, value = told[number]
    return SimpleNamespace(nvmlReturn=0, valueType=kind, value=SimpleNamespace(**{name: value}))


def _clock(card: FakeCard, kind: int) -> int:
    return {1: card.sm_clock_megahertz, 2: card.memory_clock_megahertz}[kind]


def _memory(card: FakeCard, version: int) -> Any:
    del version
    used = card.memory_used_bytes + card.memory_reserved_bytes
    free = card.memory_total_bytes - used
    return SimpleNamespace(
        total=card.memory_total_bytes,
        reserved=card.memory_reserved_bytes,
        free=free,
        used=card.memory_used_bytes,
    )


def _processes(card: FakeCard) -> list[Any]:
    return [SimpleNamespace(pid=p, usedGpuMemory=m) for p, m in card.processes.items()]


_ANSWERS: dict[str, Any] = {
    "nvmlDeviceGetUUID": lambda card: card.uuid,
    "nvmlDeviceGetName": lambda card: card.name,
    "nvmlDeviceGetPowerUsage": lambda card: card.power_milliwatts,
    "nvmlDeviceGetEnforcedPowerLimit": lambda card: card.power_limit_milliwatts,
    "nvmlDeviceGetTotalEnergyConsumption": lambda card: card.energy_millijoules,
    "nvmlDeviceGetTemperature": lambda card, _: card.temperature_celsius,
    "nvmlDeviceGetClockInfo": _clock,
    "nvmlDeviceGetCurrentClocksEventReasons": lambda card: card.clock_reasons,
    "nvmlDeviceGetTotalEccErrors": lambda card, kind, _: (
        card.ecc_uncorrected if kind else card.ecc_corrected
    ),
    "nvmlDeviceGetPcieReplayCounter": lambda _: 0,
    "nvmlDeviceGetUtilizationRates": lambda card: SimpleNamespace(
        gpu=card.busy_percent, memory=card.memory_busy_percent
    ),
    "nvmlDeviceGetMemoryInfo": _memory,
    "nvmlDeviceGetRemappedRows": lambda _: (0, 0, 0, 0),
    "nvmlDeviceGetFieldValues": lambda card, asked: [_field(card, n) for n, _ in asked],
    "nvmlDeviceGetViolationStatus": lambda card, _: SimpleNamespace(
        violationTime=card.throttled_nanoseconds
    ),
    "nvmlDeviceGetPcieThroughput": lambda _, way: 1_000 + way,
    "nvmlDeviceGetComputeRunningProcesses": _processes,
}
