-- Rows that are no request by themselves say so: an attempt that another followed, of which the client saw nothing, and what made
-- no sense (a wrong key, a broken body, an unknown model). NULL where nobody told: then the row counts.
ALTER TABLE request ADD COLUMN is_counted BOOLEAN;

DROP VIEW requests;
CREATE VIEW requests AS
SELECT s.name AS source, r.arrived_at, r.status, l.tenant, l.model, l.route, l.instance, l.slo_class, l.finish_reason,
       l.admission_reason,
       r.input_tokens, r.output_tokens, r.cached_tokens, r.predicted_output_tokens,
       r.queue_seconds, r.prefill_seconds, r.decode_seconds, r.ttft_seconds, r.tpot_seconds, r.e2e_seconds,
       r.itl_p50_seconds, r.itl_p95_seconds, r.itl_p99_seconds, r.itl_max_seconds, r.retry_after_seconds,
       r.attempt, r.is_counted, r.tenant_weight, r.policy_version,
       n.session_id, r.trace_id, r.decision_id, r.request_key, r.source_id, r.import_id
FROM request AS r
JOIN source AS s USING (source_id)
JOIN request_labels AS l USING (labels_id)
LEFT JOIN session AS n ON n.source_id = r.source_id AND n.session_key = r.session_key;
