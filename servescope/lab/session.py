"""Measure block after block until the time is up; stop and go on whenever you like."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from collector.lab.sampler import absent
from servescope.lab import rows
from servescope.lab.dataset import Folder
from servescope.lab.measure import Measured
from servescope.lab.plan import Block, Wanted, next_block
from servescope.lab.settings import LabSettings
from store.clock import Clock
from store.errors import CollectError, ConfigError

_SETUP_SECONDS = 5.0
_MOST_FAILURES = 3


class Measures(Protocol):
    """What measures a block: `measure.Bench`, or a stand-in."""

    def measure(self, block: Block) -> Measured:
        """Run all runs of the block."""
        ...


@dataclass(frozen=True, slots=True)
class Done:
    """What a session did.

    Attributes:
        blocks: measured.
        runs: in them.
        noisy: of the runs, not to be trusted.
        failed: blocks whose victim could not run, with the reason.
        stopped_by: why it ended.
    """

    blocks: int
    runs: int
    noisy: int
    failed: Sequence[str]
    stopped_by: str


def collect(
    folder: Folder,
    wanted: Wanted,
    settings: LabSettings,
    bench: Measures,
    clock: Clock,
    seconds: float,
    told: Callable[[str], None],
) -> Done:
    """Measure for at most `seconds`; a block that would not end in time is not begun.

    Args:
        folder: where rows go; what is there already decides what comes next.
        wanted: what there is to choose from.
        settings: how.
        bench: what measures.
        clock: the time.
        seconds: the limit.
        told: is handed one line a block.

    Raises:
        ConfigError: there is nothing to choose from, the folder cannot be written, or another
            laboratory works in it.
    """
    if not wanted.victims or not wanted.aggressors:
        raise ConfigError("nothing can be measured here", hint="servescope lab check says why")
    folder.open(clock.now())
    with folder.held():
        return _collect(folder, wanted, settings, bench, clock, seconds, told)


def _collect(
    folder: Folder,
    wanted: Wanted,
    settings: LabSettings,
    bench: Measures,
    clock: Clock,
    seconds: float,
    told: Callable[[str], None],
) -> Done:
    until = clock.monotonic() + seconds
    counts = [0, 0, 0]
    failed: list[str] = []
    broken: dict[str, int] = {}
    while True:
        choice = _without(wanted, broken)
        why = _why_stop(folder, choice, settings, until - clock.monotonic())
        if why:
            return Done(counts[0], counts[1], counts[2], tuple(failed), why)
        number = folder.next_number()
        block = next_block(choice, number, folder.records())
        try:
            measured = bench.measure(block)
        except CollectError as error:
            broken[block.victim] = broken.get(block.victim, 0) + 1
            failed.append(str(error))
            told(f"block {number}: {block.victim} cannot run: {error}")
            continue
        frame, records = rows.table(block, measured, settings, clock.now(), clock.monotonic())
        folder.add(number, frame, records)
        _note_absent(folder, measured)
        noisy = [record["noise"] for record in records if record["noise"]]
        counts = [counts[0] + 1, counts[1] + len(records), counts[2] + len(noisy)]
        told(_line(block, records, noisy))


def block_seconds(wanted: Wanted, settings: LabSettings) -> float:
    """About how long a block takes."""
    run = settings.run_seconds + settings.settle_seconds + 0.7
    return wanted.runs * run + settings.calibrate_seconds + _SETUP_SECONDS


def _without(wanted: Wanted, broken: dict[str, int]) -> Wanted:
    good = [name for name in wanted.victims if broken.get(name, 0) < _MOST_FAILURES]
    return Wanted(good, wanted.aggressors, wanted.beside, wanted.between, wanted.seed, wanted.cores)


def _why_stop(folder: Folder, wanted: Wanted, settings: LabSettings, left: float) -> str | None:
    if not wanted.victims:
        return "no victim can run"
    if left < block_seconds(wanted, settings):
        return "the time is up"
    if folder.megabytes() > settings.most_megabytes:
        return f"the rows take {settings.most_megabytes:g} MB, which is the limit"
    if shutil.disk_usage(folder.path).free / 1e6 < settings.least_free_megabytes:
        return f"less than {settings.least_free_megabytes:g} MB of the disk are free"
    return None


def _note_absent(folder: Folder, measured: Measured) -> None:
    if "absent" not in folder.session():
        seen = [row for run in measured.runs for row in run.rows]
        if seen:
            folder.note(absent=absent(seen[0]))


def _line(block: Block, records: Sequence[dict[str, object]], noisy: Sequence[str]) -> str:
    labels = [record["label_p"] for record in records if record["phase"] == "beside"]
    known = [label for label in labels if isinstance(label, float)]
    found = f"P {min(known):.2f} to {max(known):.2f}" if known else "no P"
    text = f"block {block.number}: {block.victim} ({block.load}), {len(records)} runs, {found}"
    return f"{text}; {len(noisy)} noisy: {noisy[0]}" if noisy else text
