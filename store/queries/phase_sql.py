"""The phases of one request, as SQL.

Each is told by what its row carries:

* queue: `queue_seconds`; negative values are bad stamps and count as unknown.
* prefill: `prefill_seconds`, else TTFT - queue.
* first_token: TTFT where neither queue nor prefill is known: both together, not told apart.
* decode: `decode_seconds`, else E2E - TTFT.
* unattributed: E2E minus the sum of the others. It is shown, never spread, and may be negative
  where an engine measures its phases on another clock than the whole.
"""

from __future__ import annotations

PHASES = ("queue", "prefill", "first_token", "decode")
QUEUE_SQL = "CASE WHEN r.queue_seconds >= 0 THEN r.queue_seconds END"
PHASE_SQL = {
    "queue": QUEUE_SQL,
    "prefill": f"coalesce(r.prefill_seconds, r.ttft_seconds - ({QUEUE_SQL}))",
    "first_token": f"CASE WHEN r.prefill_seconds IS NULL AND ({QUEUE_SQL}) IS NULL"
    " THEN r.ttft_seconds END",
    "decode": "coalesce(r.decode_seconds, r.e2e_seconds - r.ttft_seconds)",
}
"""Phase -> its seconds in a row `r` of `request`."""
SUMS_SQL = f"""count(*) AS requests, sum(r.e2e_seconds) AS e2e,
  {", ".join(f"sum({PHASE_SQL[name]}) AS {name}" for name in PHASES)},
  count(r.prefill_seconds) AS prefill_told,
  count(r.decode_seconds) AS decode_told"""
"""Sums over rows `r`: the columns of `rollup_phase` behind its bin."""
