"""Slack, Microsoft Teams and Mattermost by webhook: a few lines and a link."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from servescope.reporting.channels.base import MOST_LINES, Answer, Parcel
from servescope.reporting.channels.http import Ask, ask, host_of
from servescope.reporting.channels.secrets import secret
from store.clock import Clock
from store.errors import ConfigError

Body = Callable[[Parcel], Mapping[str, Any]]
# A section of Slack may hold 3,000 characters. Source: Slack, Block Kit, section block.
_MOST_SECTION = 2_900


@dataclass(frozen=True, slots=True)
class Chat:
    """A room that a webhook speaks into.

    Attributes:
        name: of the channel.
        kind: slack, teams, mattermost or webhook.
        webhook: its address, which is the secret.
        body: parcel to what is posted.
        clock: reads dates of the other side.
        token: sent as `Authorization: Bearer`; empty sends none.
        ca_file: certificates to trust besides those of the system.
    """

    name: str
    kind: str
    webhook: str
    body: Body
    clock: Clock
    token: str = ""
    ca_file: str = ""

    def place(self) -> str:
        """The host, not the path: whoever knows that may post."""
        try:
            return f"{host_of(self._url())}/…"
        except ConfigError as error:
            return error.message

    def send(self, parcel: Parcel) -> Answer:
        """Post it once."""
        try:
            url = self._url()
            token = secret(self.token, f"reports.channel {self.name}: token")
        except ConfigError as error:
            return Answer("failed", str(error))
        headers = {"Content-Type": "application/json", "Idempotency-Key": parcel.key}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        posted = json.dumps(self.body(parcel), ensure_ascii=False, default=str).encode()
        hidden = tuple(filter(None, (token, url.rpartition("/")[2])))
        return ask(Ask("POST", url, headers, posted, hidden, self.ca_file), self.clock)

    def _url(self) -> str:
        return secret(self.webhook, f"reports.channel {self.name}: webhook")


def slack(parcel: Parcel) -> dict[str, Any]:
    """Source: Slack, incoming webhooks: `text` is what notifications show, `blocks` the message."""
    lines = "\n".join(_for_slack(line) for line in _lines(parcel))
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": parcel.subject[:150]}},
        {"type": "section", "text": {"type": "mrkdwn", "text": lines[:_MOST_SECTION] or "-"}},
    ]
    if parcel.link:
        link = {"type": "mrkdwn", "text": f"<{parcel.link}|Open the report>"}
        blocks.append({"type": "section", "text": link})
    plain = "\n".join(filter(None, (_for_slack(parcel.subject), lines, parcel.link)))
    return {"text": plain, "blocks": blocks}


def teams(parcel: Parcel) -> dict[str, Any]:
    """Source: Microsoft, Teams workflow "When a Teams webhook request is received"."""
    inside: list[dict[str, Any]] = [
        {"type": "TextBlock", "text": parcel.subject, "weight": "Bolder", "size": "Medium",
         "wrap": True},
        *({"type": "TextBlock", "text": line, "wrap": True, "spacing": "Small"}
          for line in _lines(parcel)),
    ]  # fmt: skip
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": inside,
    }
    if parcel.link:
        open_it = {"type": "Action.OpenUrl", "title": "Open the report", "url": parcel.link}
        card["actions"] = [open_it]
    attached = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None,
                "content": card}  # fmt: skip
    return {"type": "message", "attachments": [attached]}


def mattermost(parcel: Parcel) -> dict[str, Any]:
    """Source: Mattermost, incoming webhooks: `text` is Markdown."""
    parts = [f"**{parcel.subject}**", *(f"- {line}" for line in _lines(parcel))]
    if parcel.link:
        parts += ["", f"[Open the report]({parcel.link})"]
    return {"text": "\n".join(parts)}


def document(parcel: Parcel) -> dict[str, Any]:
    """For programs: what it is about, its lines, its link, and what else is known."""
    return {
        "schema": "servescope.report.sent/1",
        "key": parcel.key,
        "schedule": parcel.schedule,
        "period": parcel.period,
        "subject": parcel.subject,
        "lines": list(_lines(parcel)),
        "link": parcel.link or None,
        **parcel.facts,
    }


def _lines(parcel: Parcel) -> list[str]:
    return list(parcel.lines[:MOST_LINES])


def _for_slack(text: str) -> str:
    """Source: Slack, formatting: three characters are control characters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


BODIES: Mapping[str, Body] = {
    "slack": slack,
    "teams": teams,
    "mattermost": mattermost,
    "webhook": document,
}
