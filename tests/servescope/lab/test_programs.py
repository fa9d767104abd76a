"""Real victims beside real neighbours, for moments: rows come out, nothing is left behind."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from collector.agent.files import KernelFiles
from collector.lab.processes import all_processes, members
from servescope.lab.aggressors import AGGRESSORS, aggressor
from servescope.lab.check import check
from servescope.lab.children import Child
from servescope.lab.dataset import Folder
from servescope.lab.measure import DISTURBER, WORKER, Bench
from servescope.lab.plan import Block, Neighbour
from servescope.lab.rows import table
from servescope.lab.settings import LabSettings
from servescope.lab.victims import VICTIMS, victim
from servescope.lab.work import DONE, Place, Program, Work
from servescope.lab.worker import EVENT_COLUMNS, Order, do
from store.clock import WallClock
from store.errors import CollectError, ConfigError

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
OWN = [name for name, one in AGGRESSORS.items() if one.steps and not name.startswith("as_")]
CORES = frozenset(os.sched_getaffinity(0))
PATIENT_SECONDS = 120.0


def here(programs):
    """Those that can run; torch takes seconds to load and has its own test."""
    return [n for n, one in programs.items() if one.missing() is None and one.family != "torch"]


def test_there_are_enough_of_both():
    """Twelve victims and ten neighbours need nothing that is not part of servescope."""
    plain = [one for one in VICTIMS.values() if one.family not in ("llm", "redis", "torch")]
    assert len(plain) >= 12
    assert len(OWN) >= 10
    assert len({one.name for one in VICTIMS.values()}) == len(VICTIMS)


@pytest.mark.parametrize("name", [n for n in here(VICTIMS) if VICTIMS[n].family != "llm"])
def test_a_victim_does_the_same_again(name, tmp_path):
    """Its trace can be worked through twice, and ends with its context."""
    with VICTIMS[name].setup(Place(tmp_path, 5)) as work:
        for piece in [*work.pieces, *work.pieces]:
            assert piece().amount == 1


@pytest.mark.engine
@pytest.mark.parametrize("name", ["llm_chat", "llm_prompt"])
def test_an_engine_tells_of_its_tokens(name, tmp_path):
    """A real llama-server: as many tokens as asked for, the first of them before the end."""
    why = VICTIMS[name].missing()
    if why:
        pytest.skip(why)
    clock = WallClock()
    with VICTIMS[name].setup(Place(tmp_path, 5)) as work:
        told = work.pieces[1]()
        assert told.amount == {"llm_chat": 48, "llm_prompt": 4}[name]
        assert told.first_at < clock.monotonic()


def test_torch_is_a_victim_where_it_is_installed(tmp_path):
    """Inference of the predictors' own library."""
    pytest.importorskip("torch")
    with VICTIMS["torch"].setup(Place(tmp_path, 5)) as work:
        work.pieces[0]()


@pytest.mark.parametrize("name", OWN)
def test_a_neighbour_can_go_on_for_ever(name, tmp_path):
    """Its step can be done again and again, and nothing is left when it is over."""
    with AGGRESSORS[name].steps(tmp_path) as step:
        for _ in range(3):
            step()


def test_unknown_names_are_told_what_there_is():
    """One clear line."""
    with pytest.raises(ConfigError, match="no victim is called 'jsn'") as failure:
        victim("jsn")
    assert "json" in failure.value.hint
    with pytest.raises(ConfigError, match="no aggressor"):
        aggressor("nobody")


def test_streams_work_side_by_side_and_in_order():
    """Two lanes share a trace; each piece is told with its kind and its times."""
    events = do(Work([lambda: DONE] * 4, 2), Order(0.05, 0.001, 1))
    kind, start, end = (events[:, EVENT_COLUMNS.index(n)] for n in ("piece", "start", "end"))
    assert set(kind) == {0, 1, 2, 3}
    assert (end >= start).all()
    assert (np.diff(end) >= 0).all()


def test_a_worker_that_cannot_start_says_why(tmp_path):
    """The reason reaches the laboratory, not only a log."""
    with (
        Child(WORKER, ["nobody", "1", str(tmp_path)], CORES, tmp_path / "log") as child,
        pytest.raises(CollectError, match="no victim is called 'nobody'"),
    ):
        child.hear(PATIENT_SECONDS)


def test_one_that_never_answers_is_not_waited_for(tmp_path):
    """Silence has an end."""
    with (
        Child(DISTURBER, ["spin", str(tmp_path)], CORES, tmp_path / "log") as child,
        pytest.raises(CollectError, match="did not answer"),
    ):
        child.hear(0.05)  # it says nothing before it is asked


@pytest.fixture
def measured(tmp_path):
    """A short block of a small victim beside two neighbours."""
    settings = LabSettings(
        run_seconds=1.2,
        period_seconds=0.2,
        calibrate_seconds=0.2,
        settle_seconds=0.0,
        most_background_ratio=1e9,
        most_steal_ticks_per_second=1e9,
        most_drift_ratio=1e9,
    )
    neighbours = (
        Neighbour("spin", "static", "same", 2, 1),
        Neighbour("pages", "ramp", "any", 1, 2),
    )
    block = Block(1, "sort", "half", 3, (None, *neighbours, None))
    clock = WallClock()
    told = []
    seen = Bench(settings, clock, tmp_path / "scratch", told.append).measure(block)
    assert told[-1] == 1.0
    return table(block, seen, settings, clock.now(), clock.monotonic())


def test_a_real_block_becomes_rows(measured, tmp_path):
    """Victim, neighbours, host and probes are in one row, with a label."""
    rows, records = measured
    assert [record["phase"] for record in records] == ["alone", "beside", "beside", "alone"]
    assert [record["noise"] for record in records] == [""] * 4
    assert all(0 < record["label_p"] <= 1 for record in records)
    beside = rows.filter(aggressor="spin")
    assert beside["probe.gather_seconds"].min() > 0
    assert beside["self.resident_bytes"].min() > 0
    assert beside["neighbour.threads"].min() >= 2
    assert (tmp_path / "scratch").exists()
    assert not list((tmp_path / "scratch").iterdir())
    folder = Folder(tmp_path / "lab")
    folder.open(WallClock().now())
    folder.add(1, rows, records)
    assert folder.rows().height == rows.height


def test_killed_it_leaves_nobody_behind(tmp_path):
    """kill -9 of the laboratory ends victims, neighbours and their servers."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from servescope.lab.children import Child\n"
        "from servescope.lab.measure import DISTURBER, WORKER\n"
        "place, log = sys.argv[1], Path(sys.argv[1]) / 'log'\n"
        "with Child(WORKER, ['echo', '1', place], {%s}, log) as a:\n"
        "    with Child(DISTURBER, ['switches', place], {%s}, log) as b:\n"
        "        b.tell({'duty': [1.0] * 600})\n"
        "        a.hear(120)\n"
        "        b.hear(120)\n"
        "        print('up', flush=True)\n"
        "        sys.stdin.read()\n"
    ) % ((min(CORES),) * 2)
    lab = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    try:
        assert lab.stdout.readline() == b"up\n"
        started = members(all_processes(KernelFiles()), [lab.pid]) - {lab.pid}
        assert len(started) >= 4
    finally:
        lab.kill()
        lab.communicate()
    clock = WallClock()
    until = clock.monotonic() + PATIENT_SECONDS
    while clock.monotonic() < until:
        left = started & all_processes(KernelFiles()).keys()
        if not left:
            return
    pytest.fail(f"still there: {left}")


def test_a_setup_that_fails_is_told(tmp_path, monkeypatch):
    """A program that is missing is named with what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install redis-server" in VICTIMS["redis"].missing()
    assert "apt-get install stress-ng" in AGGRESSORS["ng_cpu"].missing()
    assert Program("x", "x", "x", VICTIMS["json"].setup).missing() is None


def test_check_says_what_is_there_and_what_is_not():
    """Every program is named, every metric is there or has a reason."""
    found = check(WallClock(), LabSettings(), seconds=0.1)
    assert set(found.victims) == set(VICTIMS)
    assert set(found.aggressors) == set(AGGRESSORS)
    assert "host.cpu_ratio" in found.metrics
    assert not set(found.absent) & set(found.metrics)
    assert json.dumps(found.as_record())
    assert found.background_ratio >= 0


def test_a_program_of_somebody_else_is_paused_and_let_go_on(tmp_path):
    """A quarter of each second is about a quarter of a core at most; its end is noticed."""
    from servescope.lab.disturb import pulse

    clock, over = WallClock(), threading.Event()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"], process_group=0)
    try:
        pulse(busy, [0.25], clock, over)
        used = all_processes(KernelFiles())[busy.pid].cpu_seconds
        assert used < 0.8
    finally:
        busy.kill()
        busy.wait()
    with pytest.raises(CollectError, match="ended early"):
        pulse(busy, [0.25], clock, over)


def test_a_neighbour_that_ends_early_spoils_its_run_only(tmp_path, monkeypatch):
    """What was no disturbance must not be learnt as one."""
    monkeypatch.setattr("servescope.lab.measure.Child.alive", False)
    settings = LabSettings(run_seconds=0.4, period_seconds=0.1, settle_seconds=0.0)
    neighbour = Neighbour("spin", "static", "any", 1, 1)
    seen = Bench(settings, WallClock(), tmp_path).measure(
        Block(1, "sort", "full", 3, (None, neighbour, None))
    )
    assert [run.failed for run in seen.runs] == [None, "it ended early", None]
