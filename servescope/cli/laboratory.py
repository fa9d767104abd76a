"""`servescope lab`: the commands' work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl
import typer

from servescope.cli.output import CommandError, ExitCode, Output, Progress
from servescope.config import data_folder
from servescope.lab.aggressors import AGGRESSORS, aggressor
from servescope.lab.check import Readiness, check
from servescope.lab.dataset import Folder, metrics
from servescope.lab.measure import Bench
from servescope.lab.plan import Wanted
from servescope.lab.report import AGGRESSOR_COLUMNS, VICTIM_COLUMNS, report
from servescope.lab.session import block_seconds, collect
from servescope.lab.settings import LabSettings
from servescope.lab.victims import VICTIMS, victim
from store.clock import WallClock
from store.errors import ConfigError, InputError

WINDOW_STEPS, WINDOW_STRIDE = 8, 4
UNITS = "who.what_unit: _per_s a second, _ratio 0..1, _seconds, _bytes; others are counts"


class RunWish(NamedTuple):
    """What `lab run` was asked for; empty victims and aggressors are all that can run."""

    minutes: float
    folder: Path | None
    run_seconds: float
    victims: tuple[str, ...]
    aggressors: tuple[str, ...]
    seed: int
    most_background: float


def run_check(*, as_json: bool) -> None:
    """Print what this host can do; exit code 3 when something stands in the way."""
    out = Output(as_json=as_json)
    found = check(WallClock(), LabSettings())
    out.line(f"metrics     {len(found.metrics)} on this host")
    for name, why in found.absent.items():
        out.line(f"  absent    {name}: {why}")
    _print_programs(out, "victims", found.victims)
    _print_programs(out, "aggressors", found.aggressors)
    steal = found.steal_ticks_per_second
    text = f"background  {found.background_ratio:.1%} of the cores"
    out.line(text if steal is None else f"{text}, steal {steal:.1f} ticks a second")
    for trouble in found.troubles:
        out.line(f"trouble     {trouble}")
    out.document("lab_check", found.as_record())
    if found.troubles:
        raise typer.Exit(int(ExitCode.FINDING))
    out.line("ready       servescope lab run --minutes 100")


def run_run(wish: RunWish, *, plain: bool, as_json: bool) -> None:
    """Measure until the time is up.

    Raises:
        ConfigError: names, times or the folder do not fit.
    """
    out = Output(as_json=as_json, plain=plain)
    clock = WallClock()
    settings = LabSettings(run_seconds=wish.run_seconds, most_background_ratio=wish.most_background)
    ready = check(clock, settings, seconds=1.0)
    wanted = _wanted(wish, ready)
    if block_seconds(wanted, settings) > wish.minutes * 60:
        raise ConfigError(
            f"one block takes about {block_seconds(wanted, settings) / 60:.1f} minutes",
            where="--minutes",
            hint="give it more time, or shorter --run-seconds",
        )
    for trouble in ready.troubles:
        out.warn(trouble)
    folder = _folder(wish.folder)
    progress = Progress(out, "block")
    bench = Bench(settings, clock, folder.scratch, progress)
    out.note(
        f"{len(wanted.victims)} victims, {len(wanted.aggressors)} aggressors, in {folder.path}"
    )

    def told(line: str) -> None:
        progress.done()
        out.note(line)

    done = collect(folder, wanted, settings, bench, clock, wish.minutes * 60, told)
    progress.done()
    out.line(
        f"{done.blocks} blocks, {done.runs} runs, {done.noisy} of them noisy; {done.stopped_by}"
    )
    out.line("Next    servescope lab report, then servescope lab export FILE")
    out.document("lab_run", {name: getattr(done, name) for name in done.__slots__})
    if not done.blocks:
        raise CommandError("nothing was measured", ExitCode.FAILED, hint="servescope lab check")


def run_report(folder: Path | None, *, as_json: bool) -> None:
    """Print the report."""
    out = Output(as_json=as_json)
    place = _folder(folder)
    session = place.session()
    found = report(place.records())
    out.line(f"{found.clean} of {found.runs} runs can be trusted: {found.seconds} seconds")
    if found.floor_points is not None:
        out.line(f"floor: runs alone differ by {found.floor_points:.1f} points of P on average")
    for name, why in session.get("absent", {}).items():
        out.line(f"absent: {name}, {why}")
    for why, count in found.noise.items():
        out.line(f"discarded: {count} runs, {why}")
    for title, columns, frame in (
        ("victims", VICTIM_COLUMNS, found.victims),
        ("neighbours", AGGRESSOR_COLUMNS, found.aggressors),
    ):
        out.line()
        out.line(title)
        out.table(columns, frame.rows())
    out.document("lab_report", {"session": session, **found.as_record()})


def run_export(
    to: Path, folder: Path | None, *, noisy: bool, for_training: bool, as_json: bool
) -> None:
    """Write rows and their card.

    Raises:
        InputError: nothing can be trusted, or the file cannot be written.
        PredictorError: no run is long enough to learn from.
    """
    out = Output(as_json=as_json)
    place = _folder(folder)
    rows = place.rows(noisy=noisy)
    found = report(place.records())
    written = _windows(rows) if for_training else rows
    card = {
        "rows": written.height,
        "runs": rows["run_id"].n_unique(),
        "victims": sorted(rows["victim"].unique()),
        "aggressors": sorted(rows["aggressor"].unique()),
        "metrics": metrics(rows),
        "units": UNITS,
        "label": "label_p: seconds alone / seconds beside, of the same pieces of work",
        "floor_points": found.floor_points,
        "discarded_runs": dict(found.noise),
        "session": place.session(),
    }
    try:
        written.write_parquet(to, compression_level=9)
        to.with_suffix(".json").write_text(json.dumps(card, indent=1), "utf-8")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(to)) from error
    out.line(f"{written.height} rows of {card['runs']} runs in {to}, described by {to.stem}.json")
    out.document("lab_export", {"path": str(to), **card})


def _windows(rows: pl.DataFrame) -> pl.DataFrame:
    """Whole runs and stretches of them: a running instance is asked about a stretch."""
    from predictors.degradation import laboratory

    whole, parts = (
        laboratory.executions(rows),
        laboratory.windows(rows, WINDOW_STEPS, WINDOW_STRIDE),
    )
    return pl.concat([whole, parts]).sort("at")


def _wanted(wish: RunWish, ready: Readiness) -> Wanted:
    victims = _chosen(wish.victims, {name: victim(name).missing() for name in wish.victims})
    aggressors = _chosen(
        wish.aggressors, {name: aggressor(name).missing() for name in wish.aggressors}
    )
    return Wanted(
        victims or [name for name in VICTIMS if ready.victims[name] is None],
        aggressors or [name for name in AGGRESSORS if ready.aggressors[name] is None],
        seed=wish.seed,
    )


def _chosen(names: tuple[str, ...], missing: Mapping[str, str | None]) -> list[str]:
    for name, why in missing.items():
        if why is not None:
            raise ConfigError(f"{name} cannot run here: {why}")
    return list(names)


def _folder(named: Path | None) -> Folder:
    return Folder(named or data_folder() / "lab")


def _print_programs(out: Output, kind: str, found: Mapping[str, str | None]) -> None:
    there = [name for name, why in found.items() if why is None]
    out.line(f"{kind:<12}{len(there)} can run: {', '.join(there)}")
    for name, why in found.items():
        if why is not None:
            out.line(f"  missing   {name}: {why}")
