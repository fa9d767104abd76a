"""Blocks until the time is up: even coverage, noise thrown away and counted, resumed."""

from collections import Counter
from datetime import timedelta

import numpy as np
import pytest

from collector.lab.sampler import Row
from servescope.lab.dataset import Folder, metrics
from servescope.lab.measure import Measured, Run
from servescope.lab.plan import Wanted, cores_of, next_block
from servescope.lab.report import report
from servescope.lab.session import block_seconds, collect
from servescope.lab.settings import LabSettings
from servescope.lab.shapes import SHAPES, duty
from store.clock import VirtualClock, WallClock
from store.errors import CollectError, ConfigError, InputError

SETTINGS = LabSettings(run_seconds=5.0, least_free_megabytes=0.0)
WANTED = Wanted(("json", "sort", "database"), ("spin", "thrash", "pages"), cores=2)


class Stand:
    """A bench on which each neighbour halves the victim's speed; time passes at once."""

    def __init__(self, clock, background=0.0, steal=0.0, alone=(0.1, 0.1, 0.1), broken=()):
        self.clock = clock
        self.background, self.steal, self.alone = background, steal, alone
        self.broken = broken
        self.blocks = []

    def measure(self, block):
        if block.victim in self.broken:
            raise CollectError(f"{block.victim} is broken")
        self.blocks.append(block)
        alone = iter(self.alone)
        runs = [self.run(one, 0.2 if one else next(alone)) for one in block.runs]
        return Measured(runs, 1, 0.0)

    def run(self, neighbour, seconds):
        start = self.clock.monotonic()
        self.clock.advance(SETTINGS.run_seconds)
        ends = np.arange(seconds, SETTINGS.run_seconds, seconds) + start
        none = np.full(len(ends), np.nan)
        events = np.column_stack([np.zeros(len(ends)), ends - seconds, ends, none, none + 1])
        events[:, 4] = 1.0
        values = {"self.cpu_ratio": 0.4, "host.cpu_ratio": 0.5}
        values |= {"neighbour.waiting_ratio": 0.1} if neighbour else {}
        rows = [
            Row(start + n, start + n + 1, values, self.background, self.steal) for n in range(5)
        ]
        return Run(neighbour, [1.0] * 5 if neighbour else [], start, events, rows)


def clock():
    return VirtualClock(WallClock().now())


def go(folder, time, bench=None, seconds=1000.0, wanted=WANTED, told=lambda _: None):
    return collect(Folder(folder), wanted, SETTINGS, bench or Stand(time), time, seconds, told)


def test_labels_say_what_the_neighbour_cost(tmp_path):
    """Half the speed is P 0.5, alone is P 1, and both are rows with their metrics."""
    go(tmp_path, clock())
    rows = Folder(tmp_path).rows()
    beside, alone = (rows.filter(phase=phase) for phase in ("beside", "alone"))
    assert beside["label_p"].to_numpy() == pytest.approx(0.5)
    assert beside["second_p"].to_numpy() == pytest.approx(0.5)
    assert alone["label_p"].to_numpy() == pytest.approx(1.0)
    assert set(alone["aggressor"]) == {"none"}
    assert set(rows["second"]) == {1, 2, 3, 4}  # the first second is left out
    assert {"self.cpu_ratio", "host.cpu_ratio", "load.achieved_per_s"} <= set(metrics(rows))
    assert not {"label_p", "second_p", "duty", "background_ratio"} & set(metrics(rows))
    assert alone["neighbour.waiting_ratio"].null_count() == alone.height  # unknown, not 0


def test_every_victim_and_neighbour_gets_its_turn(tmp_path):
    """Coverage is even wherever it is stopped."""
    bench = Stand(time := clock())
    go(tmp_path, time, bench, seconds=9 * block_seconds(WANTED, SETTINGS))
    victims = Counter(block.victim for block in bench.blocks)
    assert max(victims.values()) - min(victims.values()) <= 1
    assert {block.load for block in bench.blocks} == {"full", "half"}
    met = Counter((b.victim, run.aggressor) for b in bench.blocks for run in b.runs if run)
    assert set(met) == {(v, a) for v in WANTED.victims for a in WANTED.aggressors}


def test_it_goes_on_where_it_was(tmp_path):
    """Two sessions are one: same blocks as one long one, none measured twice."""
    one = block_seconds(WANTED, SETTINGS)
    parts = []
    for _ in range(2):
        bench = Stand(time := clock())
        go(tmp_path / "two", time, bench, seconds=1.5 * one)
        parts += bench.blocks
    whole = Stand(time := clock())
    go(tmp_path / "one", time, whole, seconds=10 * one)
    assert parts == whole.blocks[: len(parts)]
    numbers = [block.number for block in parts]
    assert numbers == list(range(1, len(parts) + 1))
    assert len(numbers) >= 2


def test_a_block_that_was_cut_short_is_measured_anew(tmp_path):
    """Rows without records are what a kill leaves behind; they do not count."""
    go(tmp_path, clock(), seconds=block_seconds(WANTED, SETTINGS) + 1)
    folder = Folder(tmp_path)
    height, last = folder.rows().height, folder.next_number()
    (folder.blocks / f"{last:05d}.parquet").write_bytes(b"half a file")
    (folder.scratch / "left").mkdir(parents=True)
    assert folder.next_number() == last
    assert folder.rows().height == height
    go(tmp_path, clock(), seconds=block_seconds(WANTED, SETTINGS) + 1)
    assert folder.rows().height == 2 * height
    assert not (folder.scratch / "left").exists()


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ({"background": 0.2}, "alone: background used 20%"),
        ({"steal": 0.05}, "alone: steal of 5.0 ticks"),
        ({"alone": (0.1, 0.1, 0.2)}, "runs alone differ by"),
    ],
)
def test_noise_is_thrown_away_and_counted(tmp_path, trouble, reason):
    """A noisy block gives no row to learn from, says why, and its victim's turn comes again."""
    time = clock()
    bench = Stand(time, **trouble)
    done = go(tmp_path, time, bench, seconds=3 * block_seconds(WANTED, SETTINGS))
    assert done.noisy == done.runs > 0
    folder = Folder(tmp_path)
    with pytest.raises(InputError, match="no row can be trusted"):
        folder.rows()
    assert all(text.startswith(reason) for text in folder.rows(noisy=True)["noise"])
    found = report(folder.records())
    assert found.clean == 0
    assert sum(found.noise.values()) == done.runs
    assert found.floor_points is None


def test_a_victim_that_cannot_run_leaves_the_others_alone(tmp_path):
    """It is tried a few times and told, then left out."""
    time, lines = clock(), []
    done = go(tmp_path, time, Stand(time, broken=("sort",)), seconds=3000, told=lines.append)
    assert set(Folder(tmp_path).rows()["victim"]) == {"json", "database"}
    assert 0 < len(done.failed) <= 3
    assert any("sort cannot run" in line for line in lines)
    nothing = go(tmp_path / "none", time, Stand(time, broken=WANTED.victims))
    assert nothing.stopped_by == "no victim can run"


def test_a_victim_that_is_always_noisy_does_not_take_all_the_time(tmp_path):
    """It comes at most about twice as often as the others."""
    time = clock()
    bench = Stand(time)
    quiet = bench.run

    def run(neighbour, seconds):
        bench.background = 0.5 if bench.blocks[-1].victim == "sort" else 0.0
        return quiet(neighbour, seconds)

    bench.run = run
    go(tmp_path, time, bench, seconds=20 * block_seconds(WANTED, SETTINGS))
    victims = Counter(block.victim for block in bench.blocks)
    assert victims["sort"] <= 2 * min(victims["json"], victims["database"]) + 1


def test_two_laboratories_do_not_share_a_folder(tmp_path):
    """They would be each other's noise, and clear away each other's files."""
    go(tmp_path, clock(), seconds=1.0)
    with Folder(tmp_path).held(), pytest.raises(ConfigError, match="another laboratory"):
        go(tmp_path, clock())


def test_limits_stop_it_before_a_block(tmp_path):
    """Time, room and disk are limits, not surprises."""
    time = clock()
    assert go(tmp_path, time, seconds=1.0).stopped_by == "the time is up"
    tight = LabSettings(run_seconds=5.0, least_free_megabytes=1e12)
    done = collect(Folder(tmp_path), WANTED, tight, Stand(time), time, 1000.0, print)
    assert "of the disk are free" in done.stopped_by
    with pytest.raises(ConfigError, match="nothing can be measured"):
        go(tmp_path, time, wanted=Wanted((), ("spin",)))
    with pytest.raises(ConfigError, match="3 to 600"):
        LabSettings(run_seconds=1.0)


def test_the_floor_is_how_far_runs_alone_differ(tmp_path):
    """Labels that wobble by 5 % are told to do so."""
    time = clock()
    go(tmp_path, time, Stand(time, alone=(0.1, 0.1, 0.105)))
    found = report(Folder(tmp_path).records())
    assert 1.0 < found.floor_points < 6.0
    assert found.victims["cv_alone"].max() > 0.01
    assert found.aggressors["p_mean"].to_list() == pytest.approx(
        [0.5] * found.aggressors.height, abs=0.03
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_shares_of_every_second(shape):
    """A seed gives the same strength again, within 0 and 1."""
    made = duty(shape, 30, 3)
    assert made == duty(shape, 30, 3)
    assert len(made) == 30
    assert all(0 <= share <= 1 for share in made)
    assert (len(set(made)) == 1) == (shape == "static")


def test_placements_on_one_core_are_all_the_same():
    """A host with one core has no other."""
    one, two = frozenset({0}), frozenset({0, 1})
    assert cores_of("other", one, one) == one
    assert cores_of("other", one, two) == {1}
    assert cores_of("any", one, two) == two
    assert {run.placement for run in next_block(Wanted(("json",), ("spin",), cores=1), 1, []).runs
            if run} == {"same"}  # fmt: skip


def test_times_are_utc_and_in_order(tmp_path):
    """Rows can be laid beside what else was recorded on the host."""
    time = clock()
    begin = time.now()
    go(tmp_path, time, seconds=block_seconds(WANTED, SETTINGS) + 1)
    at = Folder(tmp_path).rows(noisy=True)["at"]
    assert at.is_sorted()
    assert at.min() >= begin.replace(tzinfo=None) + timedelta(seconds=1)
