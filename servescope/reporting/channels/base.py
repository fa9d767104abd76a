"""What every channel is: it takes a parcel and says what came of it. It never raises for that."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

MOST_LINES = 5
MOST_TEXT = 300
TIMEOUT_SECONDS = 20.0

# acknowledged: it is there. partly: some of its people have it, the others never will. failed: it
# may work later. refused: it will not, however often it is asked.
State = Literal["acknowledged", "partly", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class File:
    """A file of a report.

    Attributes:
        name: without folders.
        media_type: such as text/html.
        content: all of it.
    """

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """The body of an e-mail.

    Attributes:
        text: for those who read no HTML.
        html: refers to images as `cid:NAME`.
        images: by those names.
    """

    text: str
    html: str = ""
    images: Sequence[File] = ()


@dataclass(frozen=True, slots=True)
class Parcel:
    """A report on its way.

    Attributes:
        key: of this report by this channel: the same for every attempt.
        schedule: its name.
        period: the name of its folder or of its object: unique for the schedule.
        subject: one line.
        lines: the most important of it, at most five lines.
        link: where it can be opened; empty where it cannot.
        letter: as an e-mail.
        files: the report itself, by form.
        recipients: addresses; empty means those of the channel.
        facts: the same for programs.
    """

    key: str
    schedule: str
    period: str
    subject: str
    lines: Sequence[str]
    link: str
    letter: Letter
    files: Sequence[File] = ()
    recipients: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Of the files."""
        return sum(len(file.content) for file in self.files)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt.

    Attributes:
        state: see `State`.
        text: what the other side said, in one line, without secrets.
        wait_seconds: how long it asked to be left alone; None when it did not.
    """

    state: State
    text: str
    wait_seconds: float | None = None

    @property
    def is_final(self) -> bool:
        """Whether asking again is of no use."""
        return self.state != "failed"


class Channel(Protocol):
    """One configured way out."""

    @property
    def name(self) -> str:
        """As configured."""
        ...

    @property
    def kind(self) -> str:
        """A key of `registry.KINDS`."""
        ...

    def place(self) -> str:
        """Where it leads, without secrets."""
        ...

    def send(self, parcel: Parcel) -> Answer:
        """Try once; takes at most about `TIMEOUT_SECONDS` for each step of the talk."""
        ...


def one_line(text: str, hidden: Collection[str] = ()) -> str:
    """What another side said, in one line that may be kept: short and without our secrets."""
    for secret in sorted(filter(None, hidden), key=len, reverse=True):
        text = text.replace(secret, "***")
    return " ".join(text.split())[:MOST_TEXT]
