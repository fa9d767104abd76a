"""What a page can tell about alerts: silences; and what it asks beside the view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Document = Mapping[str, Any]


class AlertDesk(Protocol):
    """Silences, rules, receivers; documents of the REST API under /alerts.

    Changes raise a `ServescopeError` that says what is missing.
    """

    def silence(self, matchers: Sequence[str], seconds: float, by: str, comment: str) -> Document:
        """Let nobody be told of what matches from now on; matchers as `model="a"`."""
        ...

    def unsilence(self, silence_id: str, by: str) -> Document:
        """End a silence now."""
        ...

    def rules(self) -> Sequence[Document]:
        """Every rule: rule, severity, is_on, meaning, runbook_url, failing."""
        ...

    def receivers(self) -> Sequence[Document]:
        """Who is told: receiver, kind, problem, sent, failed."""
        ...
