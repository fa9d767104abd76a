"""A folder that reports are put into; whoever looks sees a whole file or none."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from servescope.reporting.channels.base import Answer, File, Parcel, one_line

KIND = "file"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of this machine, or one that is mounted.

    Attributes:
        name: of the channel.
        folder: must exist; what is below it is made.
    """

    name: str
    folder: str
    kind: str = KIND

    def place(self) -> str:
        """The folder."""
        return self.folder

    def send(self, parcel: Parcel) -> Answer:
        """Write every file of a report to FOLDER/SCHEDULE/PERIOD/."""
        root = Path(self.folder).expanduser()
        there = root / parcel.schedule / parcel.period
        try:
            if not root.is_dir():
                return Answer("failed", f"{root} is no folder")
            there.mkdir(parents=True, exist_ok=True)
            for file in parcel.files:
                write_whole(there / file.name, file)
        except OSError as error:
            return Answer("failed", one_line(f"{there}: {error.strerror or error}"))
        return Answer("acknowledged", f"in {there}")


def write_whole(path: Path, file: File) -> None:
    """Write a file beside its place, make it durable, then put it there.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        with draft.open("wb") as out:
            out.write(file.content)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
