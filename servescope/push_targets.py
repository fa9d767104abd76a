"""Targets whose data is pushed: numbered when they first tell something, noted when they end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from collector.remote_write.pages import Page
from collector.remote_write.series import Target
from store import targets
from store.writer import Writer


class PushTargets:
    """Keeps the store's list of targets in step with what is pushed.

    Args:
        writer: of the store.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def note(self, pages: Sequence[Page]) -> None:
        """Give targets that are new, or back again, a number, and say what they are."""
        newest = {page.target.url: page for page in pages}
        noted = {
            url: targets.Noted(
                _time(page.at_ms), page.target.engines[0].name, _model_of(page.target)
            )
            for url, page in newest.items()
            if _is_news(page.target)
        }
        if not noted:
            return
        for url, number in targets.note(self._writer, noted).result().items():
            target = newest[url].target
            target.target_id, target.gone = number, False
            target.told_engine = target.engines[0].name

    def end(self, page: Page) -> None:
        """The sender said that every series of a target has ended."""
        target = page.target
        if target.target_id is not None and not target.gone:
            target.gone = True
            targets.remove(self._writer, target.url, _time(page.at_ms))


def _is_news(target: Target) -> bool:
    is_new = target.target_id is None or target.gone
    return is_new or target.told_engine != target.engines[0].name


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _model_of(target: Target) -> str | None:
    """The model that the series of a target name; None when they name none, or several."""
    told = {cell.key[1] for kept in target.kept for cell in kept.cells}
    named = {orjson.loads(labels).get("model") for labels in told} - {None}
    return str(named.pop()) if len(named) == 1 else None
