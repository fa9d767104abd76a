-- A request that was tried more than once has a row for each attempt: only the last is what its client saw, and a count of
-- requests is a count of last attempts. NULL where nobody told: then the row is taken for the last.
ALTER TABLE request ADD COLUMN is_last BOOLEAN;

DROP VIEW requests;
CREATE VIEW requests AS
SELECT s.name AS source, r.arrived_at, r.status, l.tenant, l.model, l.route, l.instance, l.slo_class, l.finish_reason,
       l.admission_reason,
       r.input_tokens, r.output_tokens, r.cached_tokens, r.predicted_output_tokens,
       r.queue_seconds, r.prefill_seconds, r.decode_seconds, r.ttft_seconds, r.tpot_seconds, r.e2e_seconds,
       r.itl_p50_seconds, r.itl_p95_seconds, r.itl_p99_seconds, r.itl_max_seconds, r.retry_after_seconds,
       r.attempt, r.is_last, r.tenant_weight, r.policy_version,
       n.session_id, r.trace_id, r.decision_id, r.request_key, r.source_id, r.import_id
FROM request AS r
JOIN source AS s USING (source_id)
JOIN request_labels AS l USING (labels_id)
LEFT JOIN session AS n ON n.source_id = r.source_id AND n.session_key = r.session_key;
