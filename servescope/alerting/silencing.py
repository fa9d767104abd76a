"""Silences of an Alertmanager and of ours: each holds in both places, and its end ends it in both.

A silence that was made here is written there with our mark in its comment, so that it is known
again after a restart of either side; and for alerts of our rules only, so that nothing of anybody
else falls silent there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from analysis.alerts.matchers import Matcher, Silence
from analysis.alerts.model import NAME_LABEL
from analysis.alerts.rules import RULES
from servescope.alerting.book import Book
from servescope.alerting.receivers import Door, Listed, NotTold, marked

OURS = Matcher(NAME_LABEL, "|".join(sorted(RULES)), is_regex=True)


class Silencing:
    """The silences of one Alertmanager beside ours.

    Args:
        book: has ours.
        door: leads there.
    """

    def __init__(self, book: Book, door: Door) -> None:
        self._book, self._door, self._name = book, door, door.receiver.name
        self._seen: frozenset[str] | None = None

    def has_news(self, now: datetime) -> bool:
        """Whether a silence was made or ended here since the last exchange."""
        return self._seen != frozenset(self._own(now))

    async def exchange(self, now: datetime) -> str | None:
        """Take theirs in and hand ours over; gives what went wrong."""
        self._seen = frozenset(self._own(now))
        try:
            listed = await self._door.silences()
            await self._take_in([one for one in listed if not self._is_ours(one)], now)
            await self._hand_over([one for one in listed if self._is_ours(one)], now)
        except NotTold as refused:
            return f"its silences: {refused}"
        return None

    def _own(self, now: datetime) -> dict[str, Silence]:
        """Silences that were made here and hold, or will."""
        found = self._book.silences.items()
        return {name: one for name, one in found if not one.origin and one.ends_at > now}

    def _is_ours(self, listed: Listed) -> bool:
        """Whether a silence there was written by this server, and not by another servescope."""
        made = self._book.silences.get(listed.mark)
        return made is not None and not made.origin

    async def _take_in(self, listed: Collection[Listed], now: datetime) -> None:
        """Silences made there hold here, too; those that are gone there end here."""
        told = {one.silence.silence_id: one.silence for one in listed if not one.is_over}
        known = {
            name: one
            for name, one in self._book.silences.items()
            if one.origin == self._name and one.ends_at > now
        }
        news = [one for name, one in told.items() if known.get(name) != one]
        gone = [ended(one, now) for name, one in known.items() if name not in told]
        await self._keep([*news, *gone], now)

    async def _hand_over(self, listed: Collection[Listed], now: datetime) -> None:
        """Silences made here hold there, too; which of the two ended it first does not matter."""
        own = self._own(now)
        there = {one.mark for one in listed if not one.is_over}
        over = {one.mark for one in listed if one.is_over} - there
        await self._keep([ended(own[name], now) for name in sorted(own.keys() & over)], now)
        for one in listed:
            if not one.is_over and one.mark not in own:
                await self._door.end_silence(one.silence.silence_id)
        refused = None
        for name in sorted(own.keys() - there - over):
            try:
                await self._door.post_silence(written(own[name]))
            except NotTold as problem:
                refused = problem  # the others may go
        if refused is not None:
            raise refused

    async def _keep(self, silences: Collection[Silence], now: datetime) -> None:
        if silences:
            await asyncio.to_thread(self._book.silence, list(silences), now, self._name)


def ended(silence: Silence, now: datetime) -> Silence:
    """The same, over now; one that has not begun ends where it would begin."""
    return replace(silence, starts_at=min(silence.starts_at, now), ends_at=now)


def written(silence: Silence) -> Mapping[str, Any]:
    """A silence of ours as Alertmanager's API takes it."""
    return {
        "matchers": [matcher.document() for matcher in (*silence.matchers, OURS)],
        "startsAt": silence.starts_at.isoformat(), "endsAt": silence.ends_at.isoformat(),
        "createdBy": silence.created_by, "comment": marked(silence),
    }  # fmt: skip
