"""The signals of our own agents, of target `agent://NAME`; part of `store.signals.SIGNALS`."""

from __future__ import annotations

from store.signal import Signal

AGENT_SIGNALS = (
    Signal("agent_waiting_rows", "gauge", "rows", "Rows in the agent's spool, not delivered yet."),
    Signal("agent_waiting_seconds", "gauge", "s", "How long the oldest of them has waited."),
    Signal("agent_spool_bytes", "gauge", "bytes", "What the agent's spool takes on its disk."),
    Signal("agent_dropped_rows_total", "counter", "rows", "Rows that the agent had to give up."),
    Signal("agent_delivered_rows_total", "counter", "rows", "Rows that the server has taken."),
    Signal("agent_delivered_bytes_total", "counter", "bytes", "Bytes of the batches it has taken."),
    Signal(
        "agent_failed_attempts_total", "counter", "attempts", "Deliveries that had to be repeated."
    ),
    Signal("agent_skipped_scrapes_total", "counter", "scrapes", "Scrapes left out: too slow."),
    Signal(
        "agent_clock_offset_seconds",
        "gauge",
        "s",
        "The agent's clock minus the server's.",
        low=None,
    ),
)
