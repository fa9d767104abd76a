"""A row a second: what is there is measured, what is not there is said."""

import itertools
import os
import subprocess
import sys

import pytest

from collector.agent.files import KernelFiles
from collector.lab import counters, host, processes, usage
from collector.lab.probes import Probes
from collector.lab.sampler import Groups, Recorder, Sampler, absent
from store.clock import WallClock

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
STAT = "7 (a (b) c) R {parent} 7 7 0 -1 {flags} 3 4 1 1 {user} 50 10 5 20 0 2 0 9 4096 25 0"


def stat(parent=1, flags=0, user=100):
    return STAT.format(parent=parent, flags=flags, user=user)


def test_a_name_with_brackets_and_blanks_is_only_a_name():
    """Processes choose their names; the columns behind are found all the same."""
    one = processes.parse_stat(stat(parent=3))
    ticks = os.sysconf("SC_CLK_TCK")
    assert (one.pid, one.parent, one.threads) == (7, 3, 2)
    assert one.cpu_seconds == pytest.approx(165 / ticks)
    assert (one.minor_faults, one.major_faults) == (7, 2)
    assert not one.is_kernel
    assert processes.parse_stat(stat(flags=0x200000)).is_kernel


def test_a_group_is_a_process_and_all_it_started():
    """Children of children count, strangers do not."""

    def one(pid, parent):
        return processes.Process(pid, parent, False, 0.0, 0, 0, 1, 0)

    table = {p.pid: p for p in (one(1, 0), one(5, 1), one(6, 5), one(7, 6), one(8, 1))}
    assert processes.members(table, [5]) == {5, 6, 7}
    assert processes.members(table, [99]) == frozenset()


def test_what_a_child_used_is_counted_once_when_it_ends():
    """Its time moves to its parent: the sum goes on, not up and down."""

    def looked(cpu, pids):
        return usage.Usage(frozenset(pids), {"cpu": cpu}, {}, {})

    told = usage.used(looked(2.0, [1, 2]), looked(2.5, [1]), 1.0, 2, 1)
    assert told["cpu_ratio"] == pytest.approx(0.25)
    assert told["own_cores_ratio"] == pytest.approx(0.5)
    gone = usage.used(looked(2.0, [1, 2]), looked(0.5, [1]), 1.0, 2, 1)
    assert gone["cpu_ratio"] == 0.0


def kernel(tmp_path, files):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return KernelFiles(tmp_path)


def test_the_cores_of_the_instance_are_told_apart_from_the_others(tmp_path):
    """A host half idle can have an instance whose own core is full."""
    first = kernel(tmp_path / "a", {"proc/stat": "cpu 0 0 0 0\ncpu0 0 0 0 0\ncpu1 0 0 0 0\n"})
    later = "cpu 100 0 0 100 0 0 0 0\ncpu0 0 0 0 100 0 0 0 0\ncpu1 100 0 0 0 0 0 0 0\n"
    second = kernel(tmp_path / "b", {"proc/stat": later})
    told = host.changed(host.look(first, 100), host.look(second, 100), 1.0, [1])
    assert told["cpu_ratio"] == pytest.approx(0.5)
    assert told["own_cores_ratio"] == pytest.approx(1.0)


def test_a_kernel_that_tells_nothing_gives_no_numbers(tmp_path):
    """No /proc: no metric is 0 in place of unknown."""
    empty = KernelFiles(tmp_path)
    assert host.changed(host.look(empty, 100), host.look(empty, 100), 1.0, [0]) == {}
    assert host.steal_seconds(host.look(empty, 100), host.look(empty, 100)) is None


def test_counters_are_there_or_have_a_reason():
    """Every event is either counted or explained."""
    found = counters.available()
    assert set(found.names) | set(found.absent) == set(counters.EVENTS)
    assert not set(found.names) & set(found.absent)
    assert all(found.absent.values())


def test_counters_of_threads_that_ended_stay_in_the_sum():
    """A sum never falls because a thread is gone."""
    names = [n for n in counters.available().names if n == "migrations_per_s"]
    if not names:
        pytest.skip("no software counters here")
    count = counters.TaskCounters(names)
    before = count.totals([os.getpid()])
    after = count.totals([])
    assert after[names[0]] >= before[names[0]]
    count.close()
    count.close()


def test_a_busy_child_is_seen_and_nobody_else_is_made_up():
    """The instance is the child: its processor share is above 0, the neighbour's is 0."""
    code = "while True: pass"
    cores = sorted(os.sched_getaffinity(0))[-1:]
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        try:
            groups = Groups([child.pid], (), [os.getpid()], cores)
            sampler = Sampler(WallClock(), groups, Probes())
            assert sampler.step() is None
            row = None
            for _ in range(200):  # until ticks have passed, however busy this machine is
                Probes(1)
                row = sampler.step()
                if row is not None and row.values["self.cpu_ratio"] > 0:
                    break
        finally:
            child.kill()
    assert row is not None
    assert row.values["self.cpu_ratio"] > 0
    assert row.values["neighbour.cpu_ratio"] == 0
    assert row.values["probe.gather_seconds"] > 0
    assert row.end > row.start
    assert set(absent(row)).isdisjoint(row.values)
    sampler.close()


def test_probes_leave_the_thread_where_it_may_run():
    """Measuring on one core does not keep the measurer there."""
    before = os.sched_getaffinity(0)
    told = Probes().measure(sorted(before)[:1])
    assert os.sched_getaffinity(0) == before
    assert set(told) >= {"gather_seconds", "gather_cpu_seconds", "stream_seconds", "spin_seconds"}


def test_rows_follow_each_other_without_a_gap():
    """A recorder's rows cover the time from its start on."""
    clock = WallClock()
    recorder = Recorder(Sampler(clock, Groups([os.getpid()])), clock, period_seconds=0.02)
    with recorder:
        while len(recorder.rows) < 3:
            Probes(2)
    rows = recorder.rows
    assert all(a.end == b.start for a, b in itertools.pairwise(rows))
