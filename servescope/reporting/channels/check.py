"""What every channel must do: run it against one of your own."""

from __future__ import annotations

from collections.abc import Sequence

from servescope.reporting.channels.base import MOST_TEXT, Answer, Channel, File, Letter, Parcel

PARCEL = Parcel(
    "weekly.2026-W46.room", "weekly", "2026-W46", "Weekly report, week 46 of 2026",
    ("2 of 3 objectives were met.", "Begin with chat-ttft."), "https://servescope.example/ui/",
    Letter("2 of 3 objectives were met.\n"),
    (File("weekly-2026-W46.html", "text/html", b"<h1>Weekly report</h1>"),),
)  # fmt: skip
"""A small report on its way."""


def check_channel(channel: Channel, away: Channel, secrets: Sequence[str] = ()) -> None:
    """Raise AssertionError at the first promise of a channel that is broken.

    Args:
        channel: leads to somebody who takes `PARCEL`.
        away: leads to nobody.
        secrets: that must stay out of what is kept and shown.
    """
    first, again = channel.send(PARCEL), channel.send(PARCEL)
    assert first.state == "acknowledged", f"it was not taken: {first.text}"
    assert again.state == "acknowledged", f"a second attempt was not taken: {again.text}"
    lost = away.send(PARCEL)
    assert lost.state in ("failed", "refused"), f"nobody is there, and it says {lost.state}"
    for one in (first, again, lost):
        _fits(one)
    kept = " ".join((channel.place(), away.place(), first.text, again.text, lost.text))
    found = next((secret for secret in secrets if secret in kept), None)
    assert found is None, "a secret is in what is kept"


def _fits(answer: Answer) -> None:
    assert answer.text, "an answer needs words"
    assert len(answer.text) <= MOST_TEXT, f"an answer is longer than {MOST_TEXT} characters"
    assert "\n" not in answer.text, "an answer has more than one line"
