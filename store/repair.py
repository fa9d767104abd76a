"""Mending a store that no server holds: each step is told first, and what it changes is kept.

Everything that a step replaces or takes away is moved into one folder beside the store. Damaged
files are only ever read by processes of their own (`store.contents`, `store.salvage`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from store import opening
from store.backup import stamp
from store.clock import Clock
from store.contents import Contents, contents
from store.database import Database, open_to_look
from store.errors import StoreDamaged
from store.log_cut import whole_bytes
from store.migrate import latest_version
from store.restore import locked
from store.restoring import draft_folder, note_file
from store.rollup_check import wrong_buckets
from store.salvage import parsed
from store.settings import StoreSettings
from store.units import bytes_text, count_text

_REACH = re.compile(r"attempted to read (\d+) bytes from location (\d+)")
_PADDED_BYTES = 1 << 20
_NO_WAY = "restore a backup (`servescope restore`); nothing was changed"


@dataclass(frozen=True, slots=True)
class Step:
    """Something that can be mended.

    Attributes:
        subject: what it is about.
        text: what is wrong and what will be done.
        do: does it, keeping what it changes in the folder it is given; says what came of it.
    """

    subject: str
    text: str
    do: Callable[[Path], str]


class Repair:
    """Mends one store.

    Args:
        path: the database file; no process may have it open.
        settings: of the store.
        clock: names the folder of what is kept.
    """

    def __init__(self, path: Path, settings: StoreSettings, clock: Clock) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        self.kept = path.with_name(f"{path.name}.repaired-{stamp(clock.now())}")

    def steps(self) -> Iterator[Step]:
        """What there is to mend, in order; each is to be done before the next is asked for.

        Raises:
            StoreLocked: a process has the store open.
            StoreDamaged: it is beyond mending; nothing was changed.
        """
        if not self._path.exists():
            opening.check_files(self._path)
            return
        with locked(self._path):
            pass
        yield from self._leftovers()
        yield from self._file()
        yield from self._rollups()

    def _leftovers(self) -> Iterator[Step]:
        """Files of processes that are gone; nobody has the store open."""
        for place, what in (
            (opening.server_file(self._path), "a note of a server that is gone"),
            (opening.spill_folder(self._path), "work files of a process that is gone"),
            (opening.incoming_folder(self._path), "uploads that were never imported"),
            (draft_folder(self._path), "a restore that was killed before it changed anything"),
        ):
            is_empty = place.is_dir() and not any(place.iterdir())
            if os.path.lexists(place) and not is_empty and not note_file(self._path).exists():
                yield Step("leftovers", f"{place.name}: {what}; move away", partial(_move, place))

    def _file(self) -> Iterator[Step]:
        try:
            found = contents(self._path)
        except StoreDamaged as error:
            yield self._unopened(error)
            return
        if found.unreadable:
            known = count_text(sum(rows or 0 for rows in found.rows.values()))
            names = ", ".join(sorted(found.unreadable))
            text = f"blocks of {names} are damaged; save what can be read of {known} rows"
            yield Step("blocks", f"{text} into a new file", partial(self._save, self._path))

    def _unopened(self, error: StoreDamaged) -> Step:
        """The step for a file that does not open; DuckDB reads the log first, so it comes first."""
        wal = opening.wal_path(self._path)
        if wal.exists() and self._opens_without_log():
            text = f"the log of {bytes_text(wal.stat().st_size)} is damaged; keep its whole part"
            return Step("log", text, self._cut_log)
        if self._padded_size(error) is None:
            raise StoreDamaged(error.message, where=str(self._path), hint=_NO_WAY)
        text = "the file is shorter than it should be; save what can be read into a new file"
        return Step("file", text, self._save_padded)

    def _opens_without_log(self) -> bool:
        with self._scratch() as alias:
            return _why_not(alias) is None

    def _cut_log(self, kept: Path) -> str:
        """Keep as much of the log as opens; what follows its first damage cannot be read."""
        wal = opening.wal_path(self._path)
        size = wal.stat().st_size
        with self._scratch() as alias:
            low = whole_bytes(alias, wal)
        whole = wal.read_bytes()[:low]
        _copy(self._path, kept)
        _move(wal, kept)
        if low:
            wal.write_bytes(whole)
        return f"{bytes_text(low)} of {bytes_text(size)} of the log are kept: {self._said()}"

    def _padded_size(self, error: StoreDamaged) -> int | None:
        """How long the file would have to be, when it is too short; None when it is not that."""
        reach = _REACH.search(error.message)
        return int(reach[1]) + int(reach[2]) + _PADDED_BYTES if reach else None

    def _save_padded(self, kept: Path) -> str:
        """Fill the end with zeros, whose blocks are damaged then; what does not lie there opens."""
        with self._scratch(copy=True) as alias:
            while (error := _why_not(alias)) is not None:
                size = self._padded_size(error)
                if size is None or size <= alias.stat().st_size:
                    raise StoreDamaged(error.message, where=str(self._path), hint=_NO_WAY)
                os.truncate(alias, size)
            return self._save(alias, kept)

    def _save(self, source: Path, kept: Path) -> str:
        """Copy what can be read into a new store and put that in the place of the old."""
        found = contents(source, deep=False)
        if found.schema_version != latest_version():
            raise StoreDamaged(
                f"it has schema version {found.schema_version}, this program makes"
                f" {latest_version()}",
                where=str(self._path), hint="repair it with the servescope that wrote it",
            )  # fmt: skip
        new = self._path.with_name(f"{self._path.name}.saved")
        new.unlink(missing_ok=True)
        opening.wal_path(new).unlink(missing_ok=True)
        try:
            Database.open(new, self._settings, self._clock).close()
            told = _salvage(source, new)
            for old in (self._path, opening.wal_path(self._path)):
                if old.exists():
                    _move(old, kept)
            new.rename(self._path)
        finally:
            shutil.rmtree(opening.incoming_folder(new), ignore_errors=True)
            new.unlink(missing_ok=True)
        return _saved_words(told)

    def _rollups(self) -> Iterator[Step]:
        if _why_not(self._path) is not None:
            return
        with closing(open_to_look(self._path, self._settings)) as connection:
            wrong = wrong_buckets(connection)
        if wrong:
            text = f"{count_text(wrong)} ten-minute sums of requests differ from their rows"
            yield Step("roll-ups", f"{text}; count them again", self._recount)

    def _recount(self, kept: Path) -> str:
        _copy(self._path, kept)
        with Database.open(self._path, self._settings, self._clock) as database:
            mark = partial(wrong_buckets, mark=True)
            marked = database.writer.run(mark).result()
        return f"{count_text(marked)} are read from the rows until the server has counted them"

    def _said(self) -> str:
        found: Contents = contents(self._path, deep=False)
        return ", ".join(
            f"{count_text(found.rows.get(table) or 0)} {table}s" for table in ("request", "sample")
        )

    @contextmanager
    def _scratch(self, *, copy: bool = False) -> Iterator[Path]:
        """The file under another name, where DuckDB finds no log."""
        folder = self._path.with_name(f"{self._path.name}.repairing")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            alias = folder / "store.duckdb"
            if copy:
                shutil.copyfile(self._path, alias)
            else:
                alias.hardlink_to(self._path)
            yield alias
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _salvage(source: Path, target: Path) -> dict[str, list[int | None]]:
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-m", "store.salvage", str(source), str(target)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:300]
        raise StoreDamaged(f"saving its rows failed ({said})", where=str(source), hint=_NO_WAY)
    return parsed(done.stdout.splitlines()[-1])


def _saved_words(told: dict[str, list[int | None]]) -> str:
    known = sum(rows[0] or 0 for rows in told.values())
    kept = sum(rows[1] or 0 for rows in told.values())
    partly = sum(rows[2] or 0 for rows in told.values())
    unknown = sorted(name for name, rows in told.items() if rows[0] is None)
    words = f"{count_text(kept)} of {count_text(known)} rows are saved"
    if partly:
        words += f", {count_text(partly)} of them with something unknown"
    return words + (f"; nothing of {', '.join(unknown)}" if unknown else "")


def _why_not(path: Path) -> StoreDamaged | None:
    try:
        contents(path, deep=False)
    except StoreDamaged as error:
        return error
    return None


def _move(place: Path, kept: Path) -> str:
    kept.mkdir(exist_ok=True, mode=0o700)
    place.rename(kept / place.name)
    return f"moved to {kept.name}"


def _copy(place: Path, kept: Path) -> None:
    kept.mkdir(exist_ok=True, mode=0o700)
    shutil.copyfile(place, kept / place.name)
