"""What pages are handed of alerts, from any thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from analysis.alerts.matchers import parse_matcher
from servescope.alerting import documents
from servescope.alerting.service import Alerting
from servescope.documents import plain

DASHBOARD = "dashboard"


class AlertDesk:
    """Silences, rules and receivers of a server.

    Args:
        alerting: of the server.
    """

    def __init__(self, alerting: Alerting) -> None:
        self._alerting = alerting

    def silence(
        self, matchers: Sequence[str], seconds: float, by: str, comment: str
    ) -> Mapping[str, Any]:
        """Let nobody be told of what matches from now on."""
        ends = self._alerting.clock.now() + timedelta(seconds=seconds)
        parsed = [parse_matcher(text) for text in matchers]
        return _plain(
            documents.silence(self._alerting.silence(parsed, None, ends, by, comment, DASHBOARD))
        )

    def unsilence(self, silence_id: str, by: str) -> Mapping[str, Any]:
        """End a silence now."""
        return _plain(documents.silence(self._alerting.unsilence(silence_id, by, DASHBOARD)))

    def rules(self) -> Sequence[Mapping[str, Any]]:
        """Every rule."""
        return documents.rules(self._alerting)

    def receivers(self) -> Sequence[Mapping[str, Any]]:
        """Who is told."""
        return self._alerting.receivers()


def _plain(document: Mapping[str, Any]) -> Mapping[str, Any]:
    told: Mapping[str, Any] = plain(document)
    return told
