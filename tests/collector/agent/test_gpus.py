"""Cards are read in our units, what one lacks is absent, what goes wrong becomes a fault."""

import ctypes
from datetime import UTC, datetime

import pytest

from collector.agent import nvml_cards
from collector.agent.fake_nvml import FakeCard, FakeNvml
from collector.agent.files import KernelFiles
from collector.agent.nvml_cards import NvmlCards
from collector.agent.nvml_source import NvmlSource
from collector.checks import check_source
from store.clock import VirtualClock
from store.errors import CollectError
from store.signals import SIGNALS

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def clock():
    return VirtualClock(NOW)


def source(clock, nvml, files=None):
    cards = NvmlCards(nvml, files)
    cards.open()
    return NvmlSource(7, cards, "n1", clock)


def values(scrape, gpu="0"):
    """signal (and reason) -> value of one card."""
    import json

    told = {}
    for sample in scrape.samples:
        labels = json.loads(sample.labels)
        if labels["gpu"] == gpu:
            assert labels["node"] == "n1"
            told[sample.signal, labels.get("reason") or labels.get("xid") or ""] = sample.value
    return told


async def test_the_source_keeps_the_contract(clock):
    """Two scrapes, two closes: as every source."""
    first, _ = await check_source(source(clock, FakeNvml([FakeCard()])))
    assert first.facts.engine == "nvml"
    assert first.facts.engine_version == "580.95.05"


async def test_every_number_is_in_our_units(clock, tmp_path):
    """Milliwatts, megahertz, kibibytes and nanoseconds end as watts, hertz, bytes and seconds."""
    (tmp_path / "proc/4121").mkdir(parents=True)
    (tmp_path / "proc/4121/comm").write_text("vllm\n")
    nvml = FakeNvml([FakeCard()])
    scrape = await source(clock, nvml, KernelFiles(tmp_path)).scrape(1)
    told = values(scrape)
    expected = {
        "gpu_power_watts": 412.0,
        "gpu_power_limit_watts": 700.0,
        "gpu_energy_joules_total": 9e6,
        "gpu_temperature_celsius": 61.0,
        "gpu_memory_temperature_celsius": 70.0,
        "gpu_sm_clock_hertz": 1.98e9,
        "gpu_memory_clock_hertz": 3.201e9,
        "gpu_busy_ratio": 0.93,
        "gpu_memory_busy_ratio": 0.41,
        "gpu_memory_used_bytes": 120e9,
        "gpu_memory_reserved_bytes": 629_145_600.0,
        "gpu_memory_capacity_bytes": 150_754_820_096.0,
        "gpu_pcie_sent_bytes_total": 7e6,
        "gpu_link_received_bytes_total": 2_048_000.0,
        "gpu_process_memory_bytes": 119e9,
    }
    assert {name: told[name, ""] for name in expected} == expected
    assert told["gpu_throttled_seconds_total", "thermal"] == 1.5
    assert any('"process":"vllm"' in sample.labels for sample in scrape.samples)


async def test_labels_are_those_of_the_catalogue(clock):
    """What we send carries no label that the catalogue does not know."""
    import json

    nvml = FakeNvml([FakeCard()])
    nvml.xid(0, 79)
    for sample in (await source(clock, nvml).scrape(1)).samples:
        assert set(json.loads(sample.labels)) <= set(SIGNALS[sample.signal].labels), sample


async def test_what_a_card_cannot_do_is_absent_and_asked_once(clock):
    """A card without a power sensor has no power, the others keep theirs."""
    nvml = FakeNvml([FakeCard(errors={"nvmlDeviceGetPowerUsage": 3}), FakeCard(uuid="GPU-2")])
    read = source(clock, nvml)
    first, second = await read.scrape(1), await read.scrape(1)
    for scrape in (first, second):
        assert ("gpu_power_watts", "") not in values(scrape, "0")
        assert ("gpu_power_watts", "") in values(scrape, "1")
    assert nvml.calls.count("nvmlDeviceGetPowerUsage") == 3


async def test_rates_stand_in_where_pcie_has_no_counters(clock):
    """An older card tells a rate of its last 20 ms; it is asked only then."""
    card = FakeCard(errors={"field 197": 3, "field 198": 3})
    nvml = FakeNvml([card, FakeCard(uuid="GPU-2")])
    scrape = await source(clock, nvml).scrape(1)
    assert values(scrape, "0")["gpu_pcie_sent_bytes_per_second", ""] == 1e6
    assert ("gpu_pcie_sent_bytes_per_second", "") not in values(scrape, "1")


async def test_the_same_xid_twice_is_two_events(clock):
    """Unlike a gauge of the last code, nothing hides."""
    nvml = FakeNvml([FakeCard(), FakeCard(uuid="GPU-2")])
    read = source(clock, nvml)
    nvml.xid(1, 79)
    nvml.xid(1, 79)
    told = values(await read.scrape(1), "1")
    assert told["gpu_xid_events_total", "79"] == 2.0
    assert told["gpu_xid_last_code", ""] == 79.0
    faults = read.take_faults()
    assert [(fault.gpu, fault.kind) for fault in faults] == [("1", "xid")] * 2
    assert "fallen off the bus" in faults[0].details
    assert faults[0].started_at != faults[1].started_at, "one identity would make them one row"
    assert read.take_faults() == ()


async def test_a_lost_card_leaves_the_others(clock):
    """The reading goes on, and the loss is told once."""
    lost = FakeCard()
    nvml = FakeNvml([lost, FakeCard(uuid="GPU-2")])
    read = source(clock, nvml)
    await read.scrape(1)
    lost.errors["nvmlDeviceGetPowerUsage"] = 15
    scrape = await read.scrape(1)
    await read.scrape(1)
    assert (scrape.outcome, values(scrape, "0")) == ("ok", {})
    assert values(scrape, "1")
    (fault,) = read.take_faults()
    assert (fault.kind, fault.gpu) == ("lost", "0")


async def test_all_cards_lost_is_a_failed_scrape_that_says_so(clock):
    """A node without a readable card is no node without load."""
    read = source(clock, FakeNvml([FakeCard(errors={"nvmlDeviceGetPowerUsage": 15})]))
    scrape = await read.scrape(1)
    assert scrape.outcome == "not_metrics"
    assert "GPU is lost" in scrape.error


async def test_memory_errors_are_faults_when_they_rise(clock):
    """Those of before the start are none, new ones are, and a new driver's 0 is none."""
    card = FakeCard(ecc_uncorrected=4)
    read = source(clock, FakeNvml([card]))
    await read.scrape(1)
    card.ecc_uncorrected = 6
    await read.scrape(1)
    card.ecc_uncorrected = 0
    await read.scrape(1)
    (fault,) = read.take_faults()
    assert fault.details.startswith("2 memory errors")


async def test_a_throttled_stretch_is_one_fault_from_start_to_end(clock):
    """Heat for ten seconds is one fault of ten seconds; the plain power cap is none."""
    card = FakeCard(clock_reasons=0x04)
    read = source(clock, FakeNvml([card]))
    await read.scrape(1)
    card.clock_reasons = 0x44
    await read.scrape(1)
    clock.advance(10)
    card.clock_reasons = 0x04
    await read.scrape(1)
    (fault,) = read.take_faults()
    assert (fault.ended_at - fault.started_at).total_seconds() == 10
    assert "hardware thermal slowdown" in fault.details


def test_nvml_that_does_not_work_is_one_line():
    """A driver that does not match its library: said, with the way out."""
    nvml = FakeNvml([])

    def fail():
        raise nvml.NVMLError(18)

    nvml.nvmlInit = fail
    with pytest.raises(CollectError, match="NVML does not work"):
        NvmlCards(nvml).open()


def test_a_node_without_the_library_has_no_gpus(monkeypatch):
    """No NVIDIA driver: nothing is imported, nothing fails."""

    def missing(_):
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert nvml_cards.installed() is None


def test_the_double_has_only_what_nvml_has():
    """A name in the double that pynvml does not know would be tested in vain."""
    import pynvml

    from collector.agent import fake_nvml

    for name in (*fake_nvml._ANSWERS, *fake_nvml._MODULE):
        assert callable(getattr(pynvml, name)), name
    numbers = [
        name for name in vars(FakeNvml) if name.lower().startswith("nvml") and "Error" not in name
    ]
    for name in ("nvmlMemory_v2", "nvmlEventTypeXidCriticalError"):
        assert getattr(FakeNvml, name) == getattr(pynvml, name)
    for name in numbers:
        assert getattr(FakeNvml, name) == getattr(pynvml, name), name
