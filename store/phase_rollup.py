"""Roll-up of phases: where the time of successful requests went, by hour and whole duration.

It is made by `store.rollup.refresh` in the transaction that counts `rollup_1h`, so both are true of
the same hours.
"""

from __future__ import annotations

from store.hourly import Counted
from store.queries.log_bins import log_bin_sql
from store.queries.phase_sql import PHASES, SUMS_SQL
from store.queries.scope import IS_COUNTED

COUNTS = ("requests", "prefill_told", "decode_told")
COLUMNS = ("requests", "e2e", *PHASES, "prefill_told", "decode_told")
"""What is summed up, in the order of `store.queries.phase_sql.SUMS_SQL`."""
COUNTED: Counted = {
    "rollup_phase": f"""SELECT $source_id AS source_id,
  date_trunc('hour', r.arrived_at) AS hour_at, l.model, l.route,
  {log_bin_sql("r.e2e_seconds")} AS log_bin, {SUMS_SQL}
FROM request AS r JOIN request_labels AS l USING (labels_id)
WHERE r.source_id = $source_id AND r.arrived_at >= $low AND r.arrived_at < $high
  AND date_trunc('hour', r.arrived_at) IN (SELECT bucket_at FROM {{hours}})
  AND {IS_COUNTED} AND r.status = 'ok' AND r.e2e_seconds IS NOT NULL
GROUP BY ALL""",
}
