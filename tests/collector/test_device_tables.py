"""Exporters and gateways: what their pages mean, and the traps that they set."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from collector.checks import check_scrape
from collector.detect import engines_of
from collector.engines.check import check_engine
from collector.engines.reader import PageReader
from collector.engines.registry import ENGINES
from collector.exposition import parse
from collector.model import Scrape
from store.device_signals import DEVICE_SIGNALS
from store.roles import EXPORTERS, GATEWAYS, is_instance
from store.signals import SIGNALS

FOLDER = Path(__file__).parents[1] / "data" / "pages"
PAGES = {
    "dcgm-exporter": (
        "dcgm_exporter_4.8",
        "dcgm_exporter_4.9_mig",
        "dcgm_exporter_4.8_prometheus",
    ),
    "amd-device-metrics-exporter": ("amd_device_metrics_1.5", "amd_device_metrics_1.5_prefix"),
    "node_exporter": ("node_exporter_1.10",),
    "cadvisor": ("cadvisor_kubelet_1.34", "cadvisor_docker_0.53"),
    "kube-state-metrics": ("kube_state_metrics_2.17",),
    "dynamo-frontend": ("dynamo_frontend_1.6", "dynamo_0.5"),
    "dynamo-worker": ("dynamo_worker_1.6_decode", "dynamo_worker_1.6_prefill", "dynamo_0.5"),
    "llm-d-router": ("llm_d_router_2026.08", "inference_extension_1.0"),
    "litellm": ("litellm_1.109",),
    "envoy-ai-gateway": (
        "envoy_ai_gateway_2026",
        "envoy_ai_gateway_2026_units",
        "envoy_ai_gateway_2026_no_units",
    ),
}
GPU_0 = {
    "gpu": "0",
    "gpu_uuid": "GPU-1f027ee8-6e1e-2b8c-0108-3d370e5f0418",
    "node": "gpu-node-7",
}
GPU_1 = {
    "gpu": "1",
    "gpu_uuid": "GPU-4e75c9ab-0ed7-8a57-75f5-23761b9f053f",
    "node": "gpu-node-7",
}
POD = {"namespace": "serving", "pod": "llama-70b-6f4c9d7b8-x2x4q"}
MIB = 1024**2
ROLES = ("engine", "gateway", "exporter")


def text_of(stem):
    return (FOLDER / f"{stem}.txt").read_text("utf-8")


def read(text):
    page = parse(text)
    return PageReader(*engines_of(page)).read(page)


def rows(reading, signal):
    found = {s.labels: s.value for s in reading.samples if s.signal == signal}
    return {tuple(sorted(json.loads(labels).items())): v for labels, v in found.items()}


def value(reading, signal, **labels):
    return rows(reading, signal).get(tuple(sorted(labels.items())))


def histogram(reading, signal):
    [found] = [h for h in reading.histograms if h.signal == signal]
    return found


@pytest.mark.parametrize("name", PAGES)
def test_tables_keep_the_contract(name):
    """Every row is used by a page, feeds a signal of the catalogue, and stays in its range."""
    check_engine(ENGINES[name], [text_of(stem) for stem in PAGES[name]])


@pytest.mark.parametrize("stem", [stem for stems in PAGES.values() for stem in stems])
def test_pages_are_recognised(stem):
    """The names on a page tell whose it is."""
    owners = {engine.name for engine in engines_of(parse(text_of(stem)))}
    assert {name for name, stems in PAGES.items() if stem in stems} <= owners


def test_every_device_signal_is_told_by_somebody():
    """No signal waits for a table; those of the node agent are named here."""
    fed = {rule.signal for engine in ENGINES.values() for rule in engine.rules}
    fed |= {row.signal for engine in ENGINES.values() for row in engine.derived}
    agent = {"gpu_xid_events_total", "gpu_process_memory_bytes"}
    assert {signal.name for signal in DEVICE_SIGNALS} - fed == agent


@pytest.mark.parametrize(
    ("names", "about"),
    [
        (("dcgm-exporter", "amd-device-metrics-exporter"), "gpu_"),
        (("dynamo-frontend", "llm-d-router", "litellm", "envoy-ai-gateway"), "gateway_"),
    ],
)
def test_what_a_table_does_not_tell_has_a_reason(names, about):
    """For signals of its kind, a table says where the answer is instead."""
    for name in names:
        engine = ENGINES[name]
        fed = {rule.signal for rule in engine.rules} | {row.signal for row in engine.derived}
        said = {signal for row in engine.absent for signal in row.signals}
        missing = {n for n in SIGNALS if n.startswith(about)} - fed - said
        assert not missing, name


def test_dcgm_units_become_si():
    """MiB, mJ, MHz, percent and nanoseconds are bytes, joules, hertz, ratios and seconds."""
    reading = read(text_of("dcgm_exporter_4.8"))
    assert value(reading, "gpu_memory_used_bytes", **GPU_0) == 76889 * MIB
    assert value(reading, "gpu_memory_capacity_bytes", **GPU_0) == (76889 + 4096 + 574) * MIB
    assert value(reading, "gpu_energy_joules_total", **GPU_0) == pytest.approx(987654321.0)
    assert value(reading, "gpu_sm_clock_hertz", **GPU_0) == 1.98e9
    assert value(reading, "gpu_busy_ratio", **GPU_0) == pytest.approx(0.97)
    assert value(reading, "gpu_tensor_active_ratio", **GPU_0) == 0.318821
    assert value(reading, "gpu_power_watts", **GPU_0) == 612.413
    throttled = value(reading, "gpu_throttled_seconds_total", reason="power", **GPU_0)
    assert throttled == pytest.approx(2.5)
    assert value(reading, "gpu_throttled_seconds_total", reason="idle", **GPU_1) == 7


def test_each_card_is_a_series_of_its_own():
    """Number, identity and node make the series; pods come and go without changing it."""
    reading = read(text_of("dcgm_exporter_4.8"))
    assert len(rows(reading, "gpu_power_watts")) == 2
    moved = text_of("dcgm_exporter_4.8").replace(POD["pod"], "another-pod")
    assert rows(read(moved), "gpu_power_watts") == rows(reading, "gpu_power_watts")
    assert value(reading, "gpu_held", container="vllm", **POD, **GPU_0) == 1
    assert len(rows(reading, "gpu_held")) == 1
    [what] = [dict(labels) for labels in rows(reading, "gpu_present") if dict(labels)["gpu"] == "0"]
    assert what["gpu_model"] == "NVIDIA H100 80GB HBM3"
    assert what["driver_version"] == "580.82.07"


def test_the_exporters_own_pod_holds_no_card():
    """A Prometheus in between renames the holder's labels and writes the exporter's over them."""
    [held] = rows(read(text_of("dcgm_exporter_4.8_prometheus")), "gpu_held")
    told = dict(held)
    assert (told["gpu"], told["pod"], told["namespace"]) == ("0", "llama-0", "serving")


def test_a_card_shared_by_pods_counts_once():
    """The exporter repeats a shared card for each pod: its power is not the double."""
    line = 'DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="G",Hostname="n",pod="%s"} 300\n'
    held = 'DCGM_FI_DEV_FB_USED{gpu="0",UUID="G",Hostname="n",pod="%s"} 10\n'
    reading = read("".join(text % pod for pod in "ab" for text in (line, held)))
    assert list(rows(reading, "gpu_power_watts").values()) == [300]
    assert list(rows(reading, "gpu_memory_used_bytes").values()) == [10 * MIB]
    assert len(rows(reading, "gpu_held")) == 2


def test_dcgm_labels_in_both_spellings_mean_the_same():
    """Hostname and UUID were renamed; a card keeps its series over an upgrade."""
    old = text_of("dcgm_exporter_4.8")
    new = old.replace("Hostname=", "hostname=").replace("UUID=", "uuid=")
    assert rows(read(new), "gpu_xid_last_code") == rows(read(old), "gpu_xid_last_code")


def test_mig_slices_are_told_apart():
    """Under MIG a card has no utilisation; its slices have memory and engine activity."""
    reading = read(text_of("dcgm_exporter_4.9_mig"))
    card = {
        "gpu": "0",
        "gpu_uuid": "GPU-9a0f7c11-52f5-4a3e-8f6e-9e7d1b2c3d4e",
        "node": "gpu-node-9",
    }
    assert value(reading, "gpu_engine_active_ratio", gpu_instance="1", **card) == 0.75
    assert value(reading, "gpu_engine_active_ratio", gpu_instance="2", **card) == 0.125
    assert value(reading, "gpu_memory_used_bytes", gpu_instance="1", **card) == 30125 * MIB
    assert rows(reading, "gpu_busy_ratio") == {}


def test_pcie_is_a_rate_or_a_total_by_its_declared_type():
    """New settings files declare a rate, old ones a counter; nobody guesses from the name."""
    gauge = read(text_of("dcgm_exporter_4.8"))
    assert value(gauge, "gpu_pcie_sent_bytes_per_second", **GPU_0) == 123456789
    assert rows(gauge, "gpu_pcie_sent_bytes_total") == {}
    counter = read(text_of("dcgm_exporter_4.9_mig"))
    assert sorted(rows(counter, "gpu_pcie_sent_bytes_total").values()) == [70000, 5000000]
    assert rows(counter, "gpu_pcie_sent_bytes_per_second") == {}
    untyped = re.sub(r"^# TYPE .*$", "", text_of("dcgm_exporter_4.8"), flags=re.MULTILINE)
    assert rows(read(untyped), "gpu_pcie_sent_bytes_per_second") == {}


@pytest.mark.parametrize(
    "blank",
    ["9223372036854775794", "140737488355328", "2147483632", "1.40737488355328e+14"],
)
@pytest.mark.parametrize(
    "family", ["DCGM_FI_DEV_MEMORY_TEMP", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_POWER_USAGE"]
)
def test_blank_sentinels_are_no_values(family, blank):
    """The numbers by which drivers say `not measured` become no row, and are counted."""
    reading = read(f'{family}{{gpu="0",UUID="G"}} {blank}\n')
    told = [sample.signal for sample in reading.samples]
    assert [name for name in told if name.startswith("gpu_") and name != "gpu_held"] == []
    assert reading.unusable_count == 1


def test_xid_is_a_code_and_no_count():
    """The gauge holds the last code; only the window's count tells how many."""
    reading = read(text_of("dcgm_exporter_4.8"))
    assert value(reading, "gpu_xid_last_code", **GPU_1) == 48
    assert value(reading, "gpu_xid_recent_events", xid="63", **GPU_1) == 2
    assert SIGNALS["gpu_xid_last_code"].kind == "gauge"


def test_amd_units_and_prefixes():
    """Names arrive with or without the operator's prefix; percent, uJ, MB and Mb/s are SI."""
    reading = read(text_of("amd_device_metrics_1.5"))
    card = {"gpu": "0", "gpu_uuid": "ccff74a1-0000-1000-80e0-c6d49f5b0d80", "node": "tw038"}
    card["gpu_instance"] = "0"
    assert value(reading, "gpu_busy_ratio", **card) == pytest.approx(0.88)
    assert value(reading, "gpu_memory_capacity_bytes", **card) == 196592 * MIB
    assert value(reading, "gpu_energy_joules_total", **card) == pytest.approx(1.5e7)
    assert value(reading, "gpu_pcie_bytes_per_second", **card) == 1e8
    assert value(reading, "gpu_sm_clock_hertz", **card) == 2.1e9
    assert value(reading, "gpu_link_received_bytes_total", **card) == 3e6
    assert value(reading, "gpu_throttled_ratio", reason="power", **card) == pytest.approx(0.12)
    assert value(reading, "gpu_held", container="sglang", namespace="serving", pod="deepseek-0",
                 **card) == 1  # fmt: skip
    named = re.sub(r"^(gpu|pcie)_", r"amd_\1_", text_of("amd_device_metrics_1.5"), flags=re.M)
    assert read(named).samples == reading.samples


def test_amd_power_is_the_first_that_is_not_zero():
    """Cards fill different families; a partition without a sensor is unknown, not 0 W."""
    reading = read(text_of("amd_device_metrics_1.5_prefix"))
    power = {dict(labels)["gpu"]: v for labels, v in rows(reading, "gpu_power_watts").items()}
    assert power == {"0": 203, "1": 655}
    heat = {
        dict(labels)["gpu"]: v for labels, v in rows(reading, "gpu_temperature_celsius").items()
    }
    assert heat == {"0": 41}
    only = 'gpu_power_usage{gpu_id="0"} 250\ngpu_package_power{gpu_id="0"} 0\n'
    assert list(rows(read(only), "gpu_power_watts").values()) == [250]


def test_node_leaves_out_inner_networks_and_layered_disks():
    """Traffic of containers passes the real device too: counting both would be the double."""
    reading = read(text_of("node_exporter_1.10"))
    assert rows(reading, "node_network_received_bytes_total") == {(("device", "eth0"),): 9e11}
    assert rows(reading, "node_disk_read_bytes_total") == {(("device", "nvme0n1"),): 1.5e11}
    mounts = {dict(labels)["mount"] for labels in rows(reading, "node_filesystem_capacity_bytes")}
    assert mounts == {"/", "/models"}
    assert value(reading, "node_cpu_seconds_total", mode="user") == 800
    assert value(reading, "node_cpus") == 2
    assert value(reading, "node_present", node="gpu-node-7") == 1
    assert value(reading, "node_clock_offset_seconds") == -1.5e-05
    assert value(reading, "node_memory_errors_corrected_total") == 3


def test_rate_of_a_pressure_counter_is_a_share():
    """Seconds of waiting a second lie between 0 and 1: half the time here."""
    before = read("node_pressure_io_waiting_seconds_total 100\n")
    after = read("node_pressure_io_waiting_seconds_total 102.5\n")
    signal = "node_pressure_io_waiting_seconds_total"
    assert (value(after, signal) - value(before, signal)) / 5 == 0.5
    assert SIGNALS[signal].kind == "counter"


def test_cadvisor_reads_containers_only():
    """The machine, the pod and the pause container are left out: they hold the same seconds."""
    reading = read(text_of("cadvisor_kubelet_1.34"))
    vllm = {"container": "vllm", **POD}
    assert rows(reading, "container_cpu_seconds_total") == {tuple(sorted(vllm.items())): 5000}
    assert value(reading, "container_pressure_memory_stalled_seconds_total", **vllm) == 10.25
    assert value(reading, "container_memory_limit_bytes", **vllm) == 1.2e11
    assert value(reading, "container_disk_read_bytes_total", **vllm) == 1024
    assert value(reading, "pod_network_received_bytes_total", **POD) == 7500
    docker = read(text_of("cadvisor_docker_0.53"))
    assert rows(docker, "container_cpu_seconds_total") == {(("container", "vllm-1"),): 200}


def test_kube_replicas_and_the_times_of_a_pod():
    """Replicas wanted and had; the times that split a cold start, in order."""
    reading = read(text_of("kube_state_metrics_2.17"))
    llama = {"namespace": "serving", "deployment": "llama-70b"}
    assert value(reading, "deployment_replicas_wanted", **llama) == 3
    assert value(reading, "deployment_replicas_ready", **llama) == 2
    steps = ("created", "scheduled", "started", "initialised", "containers_ready", "ready")
    times = [value(reading, f"pod_{step}_unix_seconds", **POD) for step in steps]
    assert times == sorted(times)
    assert times[-1] - times[0] == 151
    assert value(reading, "pod_placed", node="gpu-node-7", **POD) == 1
    assert value(reading, "pod_phase", phase="Running", **POD) == 1
    assert value(reading, "pod_phase", phase="Pending", **POD) is None
    assert value(reading, "node_ready_ratio", node="gpu-node-9") == 0
    requested = {"container": "vllm", "node": "gpu-node-7", **POD}
    assert value(reading, "pod_gpus_requested", **requested) == 4


def test_kube_labels_through_a_prometheus():
    """What a Prometheus in between writes over is read under its new name."""
    text = text_of("kube_state_metrics_2.17")
    passed = re.sub(r"(?<=[{,])(namespace|pod|container|node)=", r"exported_\1=", text)
    own = 'pod="kube-state-metrics-0",namespace="monitoring",container="main",node="n"'
    passed = re.sub(r"\{(?=exported_)", "{" + own + ",", passed)
    assert read(passed).samples == read(text).samples


def test_kube_restarts_and_reasons():
    """Restarts are a counter; a reason that does not hold has no row."""
    reading = read(text_of("kube_state_metrics_2.17"))
    broken = {"namespace": "serving", "pod": "llama-70b-6f4c9d7b8-zzzzz", "container": "vllm"}
    assert value(reading, "container_restarts_total", **broken) == 4
    waiting = {dict(labels)["reason"] for labels in rows(reading, "container_waiting")}
    assert waiting == {"CrashLoopBackOff"}
    assert value(reading, "container_last_end", reason="OOMKilled", **broken) == 1
    assert value(reading, "container_last_exit_code", **broken) == 137


def test_trap_18_dynamo_names_that_do_not_mean_what_they_say():
    """Queued lasts to the first token, upkeep is no work, `_total` may be a gauge, KV is 0 to 1."""
    front = read(text_of("dynamo_frontend_1.6"))
    model = {"model": "qwen/qwen3-32b"}
    assert value(front, "gateway_requests_before_first_token", **model) == 4
    assert value(front, "gateway_requests_waiting", **model) == 3  # of the router, not queued
    counters = {s.signal for s in front.samples if SIGNALS[s.signal].kind == "counter"}
    assert not [name for name in counters if "lora" in name]
    decode = read(text_of("dynamo_worker_1.6_decode"))
    assert value(decode, "kv_cache_capacity_blocks", **model) == 16384
    assert histogram(decode, "inference_seconds").observation_count == 2  # no clear_kv_blocks
    prefill = read(text_of("dynamo_worker_1.6_prefill"))
    assert value(prefill, "requests_running", **model) == 6  # and not the upkeep's
    assert histogram(prefill, "prefill_seconds").observation_count == 2
    assert rows(prefill, "kv_cache_usage_ratio") == {}  # unknown, not 0


def test_old_dynamo_names_are_read_as_gauges():
    """Releases before 1.0 had gauges named `_total`, and `kvstats` in the names of workers."""
    reading = read(text_of("dynamo_0.5"))
    assert value(reading, "gateway_requests_running", model="qwen/qwen3-32b") == 7
    assert value(reading, "kv_cache_usage_ratio") == 0.25
    assert value(reading, "kv_cache_used_blocks") == 4096


def test_the_engine_is_believed_before_its_wrapper():
    """A Dynamo worker passes its engine's metrics on; the two are not added up."""
    decode = read(text_of("dynamo_worker_1.6_decode"))
    assert list(rows(decode, "requests_running").values()) == [5]
    assert list(rows(decode, "kv_cache_usage_ratio").values()) == [0.6]


def test_dynamo_frontend():
    """Ends by status, refusals, cancellations and the histograms of the frontend."""
    reading = read(text_of("dynamo_frontend_1.6"))
    model = {"model": "qwen/qwen3-32b"}
    assert value(reading, "gateway_requests_total", status="success", **model) == 105
    assert value(reading, "gateway_requests_failed_total", reason="internal", **model) == 1
    assert value(reading, "gateway_requests_refused_total", reason="overload", **model) == 3
    assert value(reading, "gateway_requests_moved_total", **model) == 2
    assert value(reading, "gateway_input_tokens_total", **model) == 5100
    assert histogram(reading, "gateway_ttft_seconds").edges[0] == 0
    routing = histogram(reading, "gateway_scheduling_seconds")
    assert routing.observation_sum == pytest.approx(0.0006)  # exposed in milliseconds
    assert routing.edges[-1] == pytest.approx(0.0025)


def test_llm_d_old_and_new_names_count_once():
    """The router shows both names for some releases; alone, the old ones are read."""
    both, old = read(text_of("llm_d_router_2026.08")), read(text_of("inference_extension_1.0"))
    tenant = {"model": "qwen3-32b", "tenant": "team-a"}
    assert value(both, "gateway_requests_started_total", **tenant) == 50
    assert value(both, "gateway_requests_running", **tenant) == 3
    assert value(old, "gateway_requests_started_total", model="qwen3-32b") == 60
    assert value(old, "gateway_requests_running", model="chat") == 4
    for reading in (both, old):
        assert sum(rows(reading, "gateway_requests_started_total").values()) == 60
        assert sum(rows(reading, "gateway_requests_running").values()) == 4
        assert value(reading, "pool_kv_cache_usage_mean_ratio", pool="qwen") == 0.55
        assert value(reading, "pool_endpoints_ready", pool="qwen") == 4
        assert histogram(reading, "gateway_ttft_seconds").observation_count == 2
        assert histogram(reading, "gateway_tpot_seconds").observation_count == 2
    refused = rows(both, "gateway_requests_refused_total")
    assert {dict(labels)["reason"]: v for labels, v in refused.items()} == {
        "RejectedCapacity": 5,
        "EvictedTTL": 2,
    }
    assert value(both, "pool_saturation", pool="qwen") == 1.25


def test_litellm_overhead_is_seconds_whatever_its_help_says():
    """The help text says milliseconds, the proxy observes seconds: 4 and 12 ms here."""
    reading = read(text_of("litellm_1.109"))
    overhead = histogram(reading, "gateway_overhead_seconds")
    assert overhead.observation_sum == pytest.approx(0.016)
    assert overhead.edges[0] == 0.005
    assert overhead.cumulative_counts[0] == 1


def test_litellm_tenants():
    """A team, else a key; `None` is nobody's name."""
    reading = read(text_of("litellm_1.109"))
    assert value(reading, "gateway_input_tokens_total", model="qwen", tenant="team-a") == 5000
    assert value(reading, "gateway_input_tokens_total", model="qwen", tenant="chat-key") == 70
    tenants = {
        json.loads(row.labels).get("tenant") for row in (*reading.samples, *reading.histograms)
    }
    assert tenants == {"team-a", "chat-key", None}
    refused = {"model": "qwen", "tenant": "team-a", "reason": "rate_limit"}
    assert value(reading, "gateway_requests_refused_total", **refused) == 3


@pytest.mark.parametrize("stem", PAGES["envoy-ai-gateway"])
def test_envoy_names_with_and_without_units(stem):
    """Dots became underscores; the unit is in the name, or not."""
    reading = read(text_of(stem))
    assert value(reading, "gateway_requests_total", model="qwen3-32b") == 2
    assert value(reading, "gateway_requests_total", model="qwen3-32b", status="_OTHER") == 1
    assert value(reading, "gateway_output_tokens_total", model="qwen3-32b") == 310
    assert histogram(reading, "gateway_input_tokens").observation_sum == 2100
    assert histogram(reading, "gateway_ttft_seconds").edges[-1] == 60
    assert histogram(reading, "gateway_cached_tokens").observation_count == 2


@pytest.mark.parametrize("stem", [stem for stems in PAGES.values() for stem in stems])
def test_empty_labels_may_be_missing(stem):
    """Prometheus drops empty labels when it sends series on: they mean the same without them."""
    text = text_of(stem)
    sparse = re.sub(r'(?<=[{,])[a-zA-Z_]+="",?', "", text).replace(",}", "}").replace("{}", "")
    assert read(sparse).samples == read(text).samples
    assert read(sparse).histograms == read(text).histograms


def test_exporters_on_one_page_are_all_read():
    """A page that joins several exporters gives the signals of each."""
    stems = ("dcgm_exporter_4.8", "node_exporter_1.10", "cadvisor_kubelet_1.34")
    reading = read("".join(map(text_of, stems)))
    told = {sample.signal for sample in reading.samples}
    assert {"gpu_power_watts", "node_load_1m", "container_cpu_seconds_total"} <= told


@pytest.mark.parametrize("stem", [stem for stems in PAGES.values() for stem in stems])
def test_pages_give_well_formed_scrapes(stem):
    """Signals, ranges, labels and histograms keep the contract of a scrape."""
    reading = read(text_of(stem))
    at = datetime(2026, 1, 1, tzinfo=UTC)
    check_scrape(Scrape(1, at, 0.0, "ok", samples=reading.samples, histograms=reading.histograms))


def test_roles_of_the_store_are_those_of_the_tables():
    """Analysis knows what is no instance without knowing the tables."""
    by_role = {role: {e.name for e in ENGINES.values() if e.role == role} for role in ROLES}
    assert by_role["exporter"] == EXPORTERS
    # Wrappers of engines stand among the gateways so that the engine is believed before them.
    assert by_role["gateway"] - GATEWAYS == {"dynamo-worker", "ray-serve"}
    assert all(is_instance(name, "http://a:1/metrics") for name in by_role["engine"])
