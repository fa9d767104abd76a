"""Delivers a made report to its channels: each until it has it, or will never have it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from servescope.reporting.channels.base import Answer, Channel, File, Letter, Parcel, one_line
from servescope.reporting.settings import ReportsSettings
from servescope.reporting.shelf import Shelf
from store import reports
from store.clock import Clock
from store.database import Database
from store.queries import reports as queries
from store.units import bytes_text

log = logging.getLogger("servescope.reporting")

DONE = ("acknowledged", "partly", "refused", "given_up")
TEST = "[test] "


@dataclass(frozen=True, slots=True)
class Standing:
    """How one channel of a run stands.

    Attributes:
        channel: by name.
        attempts: made so far.
        state: of the newest; "" before the first.
        text: what the other side said then.
        next_at: when it is asked again (aware UTC); None when it is not, or may be at once.
    """

    channel: str
    attempts: int = 0
    state: str = ""
    text: str = ""
    next_at: datetime | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing more follows."""
        return self.state in DONE


class Sending:
    """The ways out.

    Args:
        channels: by name.
        settings: how often, how long to wait.
        shelf: where the files are.
        root: where readers reach this server; "" where nobody knows.
        database: attempts are rows.
        clock: stamps.
    """

    def __init__(
        self,
        channels: Mapping[str, Channel],
        settings: ReportsSettings,
        shelf: Shelf,
        root: str,
        database: Database,
        clock: Clock,
    ) -> None:
        self._channels, self._settings, self._shelf = channels, settings, shelf
        self._root, self._database, self._clock = root, database, clock

    def standings(self, run: Mapping[str, Any]) -> list[Standing]:
        """How the channels of a run stand."""
        rows = queries.deliveries(self._database.reader, run["run_id"]).iter_rows(named=True)
        newest = {row["channel"]: row for row in rows}
        return [_standing(name, newest.get(name)) for name in run["channels"]]

    def advance(self, run: Mapping[str, Any], *, may_repeat: bool = True) -> list[Standing]:
        """Ask every channel whose time has come; gives how all of them stand then.

        Args:
            run: which report.
            may_repeat: False asks every channel once.
        """
        for one in self.standings(run):
            now = self._clock.now()
            if not one.is_done and (one.next_at is None or one.next_at <= now):
                self._attempt(run, one, may_repeat=may_repeat)
        return self.standings(run)

    def _attempt(self, run: Mapping[str, Any], one: Standing, *, may_repeat: bool) -> None:
        """Ask a channel once and keep what came of it."""
        at, began, number = self._clock.now(), self._clock.monotonic(), one.attempts + 1
        answer = self._answer(run, one.channel)
        state, next_at = str(answer.state), None
        if not answer.is_final:
            if may_repeat and number <= self._settings.retries:
                wait = self._settings.wait_seconds(number, answer.wait_seconds)
                next_at = self._clock.now() + timedelta(seconds=wait)
            else:
                state = "given_up"
        seconds = self._clock.monotonic() - began
        kept = reports.Attempt(
            run["run_id"], one.channel, number, at, state, answer.text, seconds, next_at
        )
        reports.attempted(self._database.writer, kept).result()
        about = {"run": run["run_id"], "channel": one.channel, "state": state, "said": answer.text}
        log.info("report_attempt", extra=about)

    def _answer(self, run: Mapping[str, Any], name: str) -> Answer:
        channel = self._channels.get(name)
        if channel is None:
            return Answer("refused", f"the channel {name} is not configured any more")
        manifest = self._shelf.manifest(run["run_id"])
        if manifest is None:
            return Answer("refused", "the files of this report are gone")
        try:
            return channel.send(parcel(run, name, manifest, self._shelf, self._root))
        except Exception as error:  # one channel must not end the others
            log.warning("report_channel_failed", extra={"channel": name}, exc_info=True)
            return Answer("failed", one_line(f"{type(error).__name__}"))


def parcel(
    run: Mapping[str, Any], channel: str, manifest: Mapping[str, Any], shelf: Shelf, root: str
) -> Parcel:
    """What is handed to a channel; its link leads to the report, or else to the dashboard."""
    roles: dict[str, list[File]] = {"report": [], "picture": []}
    for one in manifest["files"]:
        roles[one["role"]].append(shelf.file(run["run_id"], one["name"]))
    is_test = run["cause"] == "test"
    prefix = TEST if is_test else ""
    subject = f"{prefix}{manifest['title']}, {manifest['words']}"
    letter = Letter(manifest.get("text", ""), manifest.get("html", ""), roles["picture"])
    names = ("template", "title", "sections", "charts", "bytes")
    dashboard = manifest.get("link") or ""
    facts = {
        **{name: manifest[name] for name in names},
        "run_id": run["run_id"], "cause": run["cause"],
        "files": [file.name for file in roles["report"]], "dashboard": dashboard or None,
    }  # fmt: skip
    period = f"{run['period']}-test" if is_test else run["period"]
    return Parcel(
        key=f"{run['run_id']}/{channel}", schedule=run["schedule"], period=period, subject=subject,
        lines=manifest["lines"], link=_page(run, roles["report"], root) or dashboard, letter=letter,
        files=roles["report"], recipients=tuple(run["definition"].get("recipients") or ()),
        facts=facts,
    )  # fmt: skip


def _page(run: Mapping[str, Any], files: Sequence[File], root: str) -> str:
    """Where the report can be opened as a page, for as long as it is kept."""
    pages = [file.name for file in files if file.media_type.startswith("text/html")]
    if not (pages and root):
        return ""
    there = f"{root.rstrip('/')}/api/v1/reports/runs"
    return f"{there}/{quote(run['run_id'], safe='')}/files/{quote(pages[0], safe='')}"


def size_words(manifest: Mapping[str, Any]) -> str:
    """How large a report is: 4 charts, 212 KiB."""
    charts = manifest["charts"]
    many = "one chart" if charts == 1 else f"{charts} charts" if charts else "no charts"
    return f"{many}, {bytes_text(manifest['bytes'])}"


def outcome(found: Sequence[Standing], manifest: Mapping[str, Any]) -> tuple[str, str]:
    """State and words of a run whose channels are all done."""
    bad = [one for one in found if one.state != "acknowledged"]
    size = size_words(manifest)
    if not found:
        return "made", f"made, {size}"
    if not bad:
        return "sent", f"sent, {size}"
    words = "; ".join(f"{one.channel}: {one.text} ({_times(one.attempts)})" for one in bad)
    good = len(found) - len(bad)
    rest = f"; {good} of {len(found)} channels have it" if good else ""
    return "failed", f"failed: {words}{rest}"


def _times(attempts: int) -> str:
    return "one attempt" if attempts == 1 else f"{attempts} attempts"


def _standing(name: str, row: Mapping[str, Any] | None) -> Standing:
    if row is None:
        return Standing(name)
    following = row["next_at"].replace(tzinfo=UTC) if row["next_at"] else None
    return Standing(name, row["attempt"], row["state"], row["text"], following)
