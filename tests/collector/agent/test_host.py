"""The node's own numbers: from the kernel's files, absent where a kernel does not tell."""

import json
import shutil
from datetime import UTC, datetime

import pytest

from collector.agent import host_parse as parse
from collector.agent.files import KernelFiles
from collector.agent.host_source import HostSource
from collector.checks import check_source
from store.clock import VirtualClock, WallClock
from store.signals import SIGNALS

FILES = {
    "proc/stat": "cpu  100 0 50 800 25 0 10 5 7 0\ncpu0 1 0 0 0 0 0 0 0 0 0\n"
    "cpu1 1 0 0 0 0 0 0 0 0 0\nintr 5 3 2\nctxt 70\nbtime 1769000000\nprocesses 9\n"
    "procs_running 2\nprocs_blocked 3\n",
    "proc/loadavg": "1.50 1.25 1.00 2/100 18877\n",
    "proc/meminfo": "MemTotal:  1000 kB\nMemFree: 5 kB\nMemAvailable: 400 kB\nCached: 10 kB\n"
    "SwapTotal: 0 kB\nSwapFree: 0 kB\nHugePages_Total: 0\n",
    "proc/vmstat": "pgfault 40\npgmajfault 12\noom_kill 1\nnr_free_pages 5\n",
    "proc/pressure/cpu": "some avg10=0.21 avg60=5 avg300=10 total=4456926\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    "proc/pressure/memory": "some avg10=0 avg60=0 avg300=0 total=1000000\n"
    "full avg10=0 avg60=0 avg300=0 total=500000\n",
    "proc/pressure/irq": "full avg10=0 avg60=0 avg300=0 total=250000\n",
    "proc/net/dev": "Inter-|   Receive |  Transmit\n face |bytes ...\n"
    "    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n"
    "  eth0:1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0\n"
    "vethab: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n",
    "proc/net/snmp": "Tcp: RtoAlgorithm RetransSegs\nTcp: 1 77\nUdp: InDatagrams\nUdp: 3\n",
    "proc/diskstats": "   7 0 loop0 9 0 9 9 9 0 9 9 0 9 9\n"
    " 259 0 nvme0n1 100 0 2000 300 50 0 4000 70 0 1500 370\n"
    " 259 1 nvme0n1p1 100 0 2000 300 50 0 4000 70 0 1500 370\n",
    "sys/block/nvme0n1/size": "1\n",
    "sys/block/loop0/size": "1\n",
    "proc/self/mounts": "/dev/nvme0n1p1 / ext4 rw 0 0\n/dev/nvme0n1p1 /var/lib/x ext4 rw 0 0\n"
    "nfs:/a /mnt/nfs nfs4 rw 0 0\nproc /proc proc rw 0 0\n",
    "proc/sys/kernel/osrelease": "6.18.44\n",
    "sys/class/infiniband/mlx5_0/ports/1/counters/port_rcv_data": "250\n",
    "sys/devices/system/edac/mc/mc0/ce_count": "2\n",
    "sys/devices/system/edac/mc/mc1/ce_count": "1\n",
    "sys/fs/cgroup/system.slice/vllm.service/cpu.stat": "usage_usec 2500000\nnr_periods 10\n"
    "nr_throttled 4\nthrottled_usec 100000\n",
    "sys/fs/cgroup/system.slice/vllm.service/memory.current": "1000\n",
    "sys/fs/cgroup/system.slice/vllm.service/memory.max": "max\n",
    "sys/fs/cgroup/system.slice/vllm.service/memory.stat": "anon 600\ninactive_file 300\n",
    "sys/fs/cgroup/system.slice/vllm.service/memory.events": "low 0\nmax 5\noom_kill 1\n",
    "sys/fs/cgroup/system.slice/vllm.service/io.stat": "259:0 rbytes=10 wbytes=20 rios=1\n"
    "8:0 rbytes=1 wbytes=2 rios=1\n",
    "sys/fs/cgroup/system.slice/vllm.service/cpu.pressure": "some avg10=0 total=1500000\n"
    "full avg10=0 total=500000\n",
}


@pytest.fixture
def root(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def source(root):
    clock = VirtualClock(datetime(2026, 1, 31, tzinfo=UTC))
    return HostSource(3, clock, KernelFiles(root), ("/system.slice/vllm.service",))


def told(scrape):
    return {(s.signal, *json.loads(s.labels).values()): s.value for s in scrape.samples}


async def test_the_numbers_of_a_node(root):
    """Each file ends as signals in SI units; a machine's noise devices are left out."""
    scrape = await source(root).scrape(1)
    values = told(scrape)
    expected = {
        ("node_cpu_seconds_total", "user"): 1.0,
        ("node_cpu_seconds_total", "iowait"): 0.25,
        ("node_cpus",): 2.0,
        ("node_boot_unix_seconds",): 1769000000.0,
        ("node_processes_blocked",): 3.0,
        ("node_processes_running",): 2.0,
        ("node_context_switches_total",): 70.0,
        ("node_interrupts_total",): 5.0,
        ("node_forks_total",): 9.0,
        ("node_page_faults_total",): 40.0,
        ("node_load_1m",): 1.5,
        ("node_memory_available_bytes",): 409600.0,
        ("node_oom_kills_total",): 1.0,
        ("node_pressure_cpu_waiting_seconds_total",): 4.456926,
        ("node_pressure_memory_stalled_seconds_total",): 0.5,
        ("node_pressure_irq_stalled_seconds_total",): 0.25,
        ("node_network_received_bytes_total", "eth0"): 1000.0,
        ("node_network_send_drops_total", "eth0"): 4.0,
        ("node_tcp_retransmits_total",): 77.0,
        ("node_disk_read_bytes_total", "nvme0n1"): 1024000.0,
        ("node_disk_read_seconds_total", "nvme0n1"): 0.3,
        ("node_disk_written_bytes_total", "nvme0n1"): 2048000.0,
        ("node_disk_busy_seconds_total", "nvme0n1"): 1.5,
        ("node_infiniband_received_bytes_total", "mlx5_0", "1"): 1000.0,
        ("node_memory_errors_corrected_total",): 3.0,
    }
    assert {key: values.get(key) for key in expected} == expected
    devices = {key[1] for key in values if key[0].startswith(("node_network", "node_disk"))}
    assert devices == {"eth0", "nvme0n1"}
    assert {key[1] for key in values if key[0] == "node_filesystem_capacity_bytes"} == {"/"}
    assert ("node_pressure_cpu_stalled_seconds_total",) not in values
    assert scrape.facts.engine_version == "6.18.44"
    assert scrape.bad_line_count == 0


async def test_a_control_group(root):
    """A service's own numbers; no limit means no row, never 0."""
    values = told(await source(root).scrape(1))
    group = {key[0]: value for key, value in values.items() if key[0].startswith("container")}
    assert group == {
        "container_cpu_seconds_total": 2.5,
        "container_cpu_throttled_seconds_total": pytest.approx(0.1),
        "container_cpu_throttled_periods_total": 4.0,
        "container_cpu_periods_total": 10.0,
        "container_memory_used_bytes": 1000.0,
        "container_memory_working_set_bytes": 700.0,
        "container_memory_resident_bytes": 600.0,
        "container_memory_limit_hits_total": 5.0,
        "container_oom_kills_total": 1.0,
        "container_disk_read_bytes_total": 11.0,
        "container_disk_written_bytes_total": 22.0,
        "container_pressure_cpu_waiting_seconds_total": 1.5,
        "container_pressure_cpu_stalled_seconds_total": 0.5,
    }


async def test_labels_are_those_of_the_catalogue(root):
    """Nothing is sent under a label that the catalogue does not know."""
    for sample in (await source(root).scrape(1)).samples:
        assert set(json.loads(sample.labels)) <= set(SIGNALS[sample.signal].labels), sample


@pytest.mark.parametrize("gone", ["proc/pressure", "proc/net", "sys", "proc/vmstat"])
async def test_a_kernel_without_a_file_costs_only_its_signals(root, gone):
    """An older kernel, or a container that hides a file: the rest goes on."""
    path = root / gone
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    scrape = await source(root).scrape(1)
    assert (scrape.outcome, scrape.bad_line_count) == ("ok", 0)
    assert ("node_cpus",) in told(scrape)


async def test_a_file_of_another_shape_is_counted(root):
    """A file that cannot be understood is a bad one, and only that one."""
    (root / "proc/loadavg").write_text("busy\n")
    scrape = await source(root).scrape(1)
    assert scrape.bad_line_count == 1
    assert ("node_cpus",) in told(scrape)


async def test_nothing_at_all_is_a_failed_scrape(tmp_path):
    """Without /proc there is no reading, and it says why."""
    scrape = await source(tmp_path).scrape(1)
    assert scrape.outcome == "not_metrics"
    assert "/proc" in scrape.error


async def test_this_machine():
    """The real files here keep the contract of a source."""
    first, _ = await check_source(HostSource(1, WallClock()))
    assert first.outcome == "ok"
    assert first.bad_line_count == 0


def test_a_mount_with_a_blank_in_its_name():
    """The kernel writes a blank as \\040."""
    assert parse.local_mounts("/dev/a /my\\040disk xfs rw 0 0\n") == ["/my disk"]
