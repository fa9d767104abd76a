"""Roll-up of tenants: what each sent, asked for, got and waited for, by hour of arrival.

It is made by `store.rollup.refresh` in the transaction that counts `rollup_1h`, so both are true of
the same hours. What happened to the requests of an hour is kept by half a minute in which it did,
which may be after that hour: rows that come late change the sums of their own hour alone.
"""

from __future__ import annotations

from store.hourly import Counted
from store.queries.served import flows_sql, sums_sql
from store.queries.slo import OCTAVE_SQL
from store.queries.token_cost import Cost

FLOW_SECONDS = 30
"""Width of the bins of `rollup_flow`; they count from 1970-01-01."""
COST = Cost()
"""The service that is summed up; with other weights the rows have to be asked."""
_PICKED = """request AS r JOIN request_labels AS l USING (labels_id)
      WHERE r.source_id = $source_id AND r.arrived_at >= $low AND r.arrived_at < $high
        AND date_trunc('hour', r.arrived_at) IN (SELECT bucket_at FROM {hours})"""
_ROWS = f"""(SELECT r.*, l.tenant, date_trunc('hour', r.arrived_at) AS hour_at
      FROM {_PICKED}) AS r"""
COUNTED: Counted = {
    "rollup_tenant": f"""SELECT $source_id AS source_id,
    date_trunc('hour', r.arrived_at) AS hour_at, l.tenant, r.status,
    {OCTAVE_SQL} AS input_octave,
    {sums_sql(COST.sql())}
FROM {_PICKED} GROUP BY ALL""",
    "rollup_flow": f"""WITH found AS (
  WITH {flows_sql("tenant, hour_at", _ROWS, COST.sql(), "$low", f"{FLOW_SECONDS}e6")}
)
SELECT $source_id AS source_id, hour_at, tenant,
  $low + to_seconds(bin * {FLOW_SECONDS}) AS happened_at, sum(asked) AS asked,
  sum(refused) AS refused, sum(rate) AS rate, sum(rising) AS rising,
  sum(waiting)::INTEGER AS waiting, sum(running)::INTEGER AS running
FROM found GROUP BY ALL""",
}
