"""What NVML tells about each card, in the units of our signals.

The module that is called is nvidia-ml-py's `pynvml`, handed in: `fake_nvml.FakeNvml` stands for it
where there is no GPU. What a card does not support is asked for once and is absent from then on.
Units: NVML API reference (mW, mJ, MHz, KiB for NVLink throughput, KB/s for PCIe throughput).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from collector.agent.files import KernelFiles
from store.errors import CollectError

_ALL_LINKS = 0xFFFFFFFF
_NOT_SUPPORTED, _NO_PERMISSION, _NOT_FOUND = 3, 4, 6
_TIMEOUT, _GPU_IS_LOST, _RESET_REQUIRED = 10, 15, 16
_NEVER = frozenset((_NOT_SUPPORTED, _NO_PERMISSION, _NOT_FOUND))
_VALUE_BY_TYPE = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")


class _Call(NamedTuple):
    """One function of NVML that gives one number."""

    function: str
    arguments: tuple[int, ...]
    signal: str
    factor: float = 1.0


_CALLS = (
    _Call("nvmlDeviceGetPowerUsage", (), "gpu_power_watts", 1e-3),
    _Call("nvmlDeviceGetEnforcedPowerLimit", (), "gpu_power_limit_watts", 1e-3),
    _Call("nvmlDeviceGetTotalEnergyConsumption", (), "gpu_energy_joules_total", 1e-3),
    _Call("nvmlDeviceGetTemperature", (0,), "gpu_temperature_celsius"),
    _Call("nvmlDeviceGetClockInfo", (1,), "gpu_sm_clock_hertz", 1e6),
    _Call("nvmlDeviceGetClockInfo", (2,), "gpu_memory_clock_hertz", 1e6),
    _Call("nvmlDeviceGetCurrentClocksEventReasons", (), "gpu_clock_limit_bits"),
    # Volatile counts, since the driver was loaded, as dcgm-exporter shows them.
    _Call("nvmlDeviceGetTotalEccErrors", (0, 0), "gpu_ecc_corrected_total"),
    _Call("nvmlDeviceGetTotalEccErrors", (1, 0), "gpu_ecc_uncorrected_total"),
    _Call("nvmlDeviceGetPcieReplayCounter", (), "gpu_pcie_replays_total"),
)


class _Field(NamedTuple):
    """One field of `nvmlDeviceGetFieldValues`; `reason` is the label of that name."""

    name: str
    scope: int
    signal: str
    factor: float = 1.0
    reason: str = ""


_FIELDS = (
    _Field("NVML_FI_DEV_MEMORY_TEMP", 0, "gpu_memory_temperature_celsius"),
    _Field("NVML_FI_DEV_PCIE_COUNT_TX_BYTES", 0, "gpu_pcie_sent_bytes_total"),
    _Field("NVML_FI_DEV_PCIE_COUNT_RX_BYTES", 0, "gpu_pcie_received_bytes_total"),
    _Field(
        "NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX", _ALL_LINKS, "gpu_link_sent_bytes_total", 1024.0
    ),
    _Field(
        "NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX", _ALL_LINKS, "gpu_link_received_bytes_total", 1024.0
    ),
    *(
        _Field(
            f"NVML_FI_DEV_NVLINK_{reason.upper()}_ERROR_COUNT_TOTAL",
            0,
            "gpu_link_errors_total",
            reason=reason,
        )
        for reason in ("crc_flit", "crc_data", "replay", "recovery")
    ),
)
# Numbers of NVML's performance policies.
_THROTTLED = {0: "power", 1: "thermal", 2: "sync", 3: "board", 4: "idle", 5: "reliability"}
# One call samples the link for 20 ms, so it is asked only where there are no counters.
_PCIE_RATES = {0: "gpu_pcie_sent_bytes_per_second", 1: "gpu_pcie_received_bytes_per_second"}


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process on a card; `name` is empty when the kernel does not tell it to us."""

    pid: int
    name: str
    memory_bytes: float


@dataclass(frozen=True, slots=True)
class CardReading:
    """One card at one moment.

    Args:
        gpu: its number on this node.
        uuid: its identity; empty when the card is lost.
        model: what it is.
        values: (signal, reason) -> value; most signals have no reason, which is then empty.
        processes: who is on it.
        lost: why it cannot be read any more; None while it can.
    """

    gpu: str
    uuid: str
    model: str
    values: Mapping[tuple[str, str], float]
    processes: tuple[GpuProcess, ...] = ()
    lost: str | None = None


@dataclass(slots=True)
class _Card:
    handle: Any
    gpu: str
    uuid: str
    model: str
    unsupported: set[Any] = field(default_factory=set)


class NvmlCards:
    """All cards of this node. Methods block for some milliseconds; for one thread at a time.

    Args:
        nvml: the module `pynvml`, or a double.
        files: where the names of processes are read.
    """

    def __init__(self, nvml: Any, files: KernelFiles | None = None) -> None:
        self._nvml = nvml
        self._files = files or KernelFiles()
        self._cards: list[_Card] = []
        self._events: Any = None
        self.driver_version: str | None = None

    def open(self) -> None:
        """Begin.

        Raises:
            CollectError: NVML does not work here.
        """
        nvml = self._nvml
        try:
            nvml.nvmlInit()
            self.driver_version = str(nvml.nvmlSystemGetDriverVersion())
            for number in range(nvml.nvmlDeviceGetCount()):
                self._cards.append(self._card(number))
        except nvml.NVMLError as error:
            raise CollectError(
                f"NVML does not work ({error})", where="GPU",
                hint="does nvidia-smi? Set agent.gpu to false to do without",
            ) from error  # fmt: skip
        self._listen()

    def read(self) -> tuple[CardReading, ...]:
        """All cards now; a card that is lost is a reading too."""
        return tuple(self._read(card) for card in self._cards)

    def xids(self) -> tuple[tuple[str, int], ...]:
        """(card, XID code) of each error since the last call; NVML keeps them until then."""
        told: list[tuple[str, int]] = []
        while self._events is not None and len(told) < 1_000:
            try:
                event = self._nvml.nvmlEventSetWait_v2(self._events, 0)
                number = str(self._nvml.nvmlDeviceGetIndex(event.device))
            except self._nvml.NVMLError as error:
                if error.value in (_GPU_IS_LOST, _RESET_REQUIRED):
                    continue
                break
            if event.eventType == self._nvml.nvmlEventTypeXidCriticalError:
                told.append((number, int(event.eventData)))
        return tuple(told)

    def close(self) -> None:
        """Let go; safe twice and without open."""
        if self.driver_version is None:
            return
        self.driver_version = None
        self._cards = []
        try:
            if self._events is not None:
                self._nvml.nvmlEventSetFree(self._events)
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:
            pass
        self._events = None

    def _card(self, number: int) -> _Card:
        handle = self._nvml.nvmlDeviceGetHandleByIndex(number)
        uuid, model = self._nvml.nvmlDeviceGetUUID(handle), self._nvml.nvmlDeviceGetName(handle)
        return _Card(handle, str(number), str(uuid), str(model))

    def _listen(self) -> None:
        """Ask for XID events; a card or a driver without them tells none."""
        nvml = self._nvml
        try:
            self._events = nvml.nvmlEventSetCreate()
        except nvml.NVMLError:
            return
        for card in self._cards:
            try:
                nvml.nvmlDeviceRegisterEvents(
                    card.handle, nvml.nvmlEventTypeXidCriticalError, self._events
                )
            except nvml.NVMLError:
                card.unsupported.add("events")

    def _read(self, card: _Card) -> CardReading:
        values: dict[tuple[str, str], float] = {}
        processes: tuple[GpuProcess, ...] = ()
        try:
            for plain in (self._numbers, self._shares, self._rows):
                values.update({(signal, ""): value for signal, value in plain(card)})
            for by_reason in (self._fields, self._throttled):
                values.update({told[:2]: told[2] for told in by_reason(card)})
            if ("gpu_pcie_sent_bytes_total", "") not in values:
                values.update(self._pcie_rates(card))
            processes = tuple(self._processes(card))
        except self._nvml.NVMLError as error:
            return CardReading(card.gpu, card.uuid, card.model, {}, lost=str(error))
        return CardReading(card.gpu, card.uuid, card.model, values, processes)

    def _numbers(self, card: _Card) -> Iterator[tuple[str, float]]:
        for call in _CALLS:
            told = self._ask(card, call.function, *call.arguments)
            if told is not None:
                yield call.signal, told * call.factor

    def _shares(self, card: _Card) -> Iterator[tuple[str, float]]:
        busy = self._ask(card, "nvmlDeviceGetUtilizationRates")
        if busy is not None:
            yield "gpu_busy_ratio", busy.gpu / 100
            yield "gpu_memory_busy_ratio", busy.memory / 100
        memory = self._ask(card, "nvmlDeviceGetMemoryInfo", self._nvml.nvmlMemory_v2)
        if memory is not None:
            yield "gpu_memory_capacity_bytes", float(memory.total)
            yield "gpu_memory_reserved_bytes", float(memory.reserved)
            yield "gpu_memory_free_bytes", float(memory.free)
            yield "gpu_memory_used_bytes", float(memory.used)

    def _rows(self, card: _Card) -> Iterator[tuple[str, float]]:
        told = self._ask(card, "nvmlDeviceGetRemappedRows")
        if told is not None:
            yield "gpu_remapped_rows_corrected_total", float(told[0])
            yield "gpu_remapped_rows_uncorrected_total", float(told[1])
            yield "gpu_row_remap_failed_ratio", float(bool(told[3]))

    def _fields(self, card: _Card) -> Iterator[tuple[str, str, float]]:
        wanted = [
            (entry, number)
            for entry in _FIELDS
            if (number := getattr(self._nvml, entry.name, None)) is not None
            and entry.name not in card.unsupported
        ]
        if not wanted:
            return
        asked = [(number, entry.scope) for entry, number in wanted]
        told = self._ask(card, "nvmlDeviceGetFieldValues", asked)
        for (entry, _), value in zip(wanted, told or (), strict=False):
            if value.nvmlReturn in _NEVER:
                card.unsupported.add(entry.name)
            elif value.nvmlReturn == 0 and value.valueType < len(_VALUE_BY_TYPE):
                number = getattr(value.value, _VALUE_BY_TYPE[value.valueType])
                yield entry.signal, entry.reason, float(number) * entry.factor

    def _throttled(self, card: _Card) -> Iterator[tuple[str, str, float]]:
        for policy, reason in _THROTTLED.items():
            told = self._ask(card, "nvmlDeviceGetViolationStatus", policy)
            if told is not None:
                yield "gpu_throttled_seconds_total", reason, told.violationTime / 1e9

    def _pcie_rates(self, card: _Card) -> dict[tuple[str, str], float]:
        told = {
            signal: self._ask(card, "nvmlDeviceGetPcieThroughput", way)
            for way, signal in _PCIE_RATES.items()
        }
        return {(signal, ""): value * 1e3 for signal, value in told.items() if value is not None}

    def _processes(self, card: _Card) -> Iterator[GpuProcess]:
        for process in self._ask(card, "nvmlDeviceGetComputeRunningProcesses") or ():
            if process.usedGpuMemory is not None:
                name = (self._files.text(f"proc/{process.pid}/comm") or "").strip()
                yield GpuProcess(int(process.pid), name, float(process.usedGpuMemory))

    def _ask(self, card: _Card, function: str, *arguments: Any) -> Any:
        """What NVML answers; None when this card never will, or not now.

        Raises:
            NVMLError: the card is gone.
        """
        key = (function, arguments) if all(isinstance(a, int) for a in arguments) else function
        if key in card.unsupported:
            return None
        try:
            call: Callable[..., Any] = getattr(self._nvml, function)
            return call(card.handle, *arguments)
        except (self._nvml.NVMLError, AttributeError) as error:
            code = getattr(error, "value", _NOT_SUPPORTED)
            if code in (_GPU_IS_LOST, _RESET_REQUIRED):
                raise
            if code in _NEVER:
                card.unsupported.add(key)
            return None


def installed() -> Any | None:
    """The module `pynvml` where the driver's library is; None elsewhere.

    The library is looked for first: the module alone costs five megabytes.
    """
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml
