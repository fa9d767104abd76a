-- What only a gateway knows of a request. A request that it tried more than once has a row for each attempt; one that
-- it turned away has a row, too, with the reason in `admission_reason`.
ALTER TABLE request_labels ADD COLUMN admission_reason VARCHAR;
ALTER TABLE request ADD COLUMN attempt SMALLINT;             -- 1 is the first; NULL where no gateway told of it
ALTER TABLE request ADD COLUMN tenant_weight DOUBLE;          -- the tenant's share in the queue at that time
ALTER TABLE request ADD COLUMN policy_version INTEGER;       -- of gateway_policy, that decided
ALTER TABLE request ADD COLUMN itl_p50_seconds DOUBLE;        -- gaps between the chunks that the client was sent
ALTER TABLE request ADD COLUMN itl_p95_seconds DOUBLE;
ALTER TABLE request ADD COLUMN itl_p99_seconds DOUBLE;
ALTER TABLE request ADD COLUMN itl_max_seconds DOUBLE;
ALTER TABLE request ADD COLUMN retry_after_seconds DOUBLE;    -- what the client was told to wait

DROP VIEW requests;
CREATE VIEW requests AS
SELECT s.name AS source, r.arrived_at, r.status, l.tenant, l.model, l.route, l.instance, l.slo_class, l.finish_reason,
       l.admission_reason,
       r.input_tokens, r.output_tokens, r.cached_tokens, r.predicted_output_tokens,
       r.queue_seconds, r.prefill_seconds, r.decode_seconds, r.ttft_seconds, r.tpot_seconds, r.e2e_seconds,
       r.itl_p50_seconds, r.itl_p95_seconds, r.itl_p99_seconds, r.itl_max_seconds, r.retry_after_seconds,
       r.attempt, r.tenant_weight, r.policy_version,
       n.session_id, r.trace_id, r.decision_id, r.request_key, r.source_id, r.import_id
FROM request AS r
JOIN source AS s USING (source_id)
JOIN request_labels AS l USING (labels_id)
LEFT JOIN session AS n ON n.source_id = r.source_id AND n.session_key = r.session_key;

-- What gateways are to decide by: only ever added to, the newest is in force.
CREATE TABLE gateway_policy (
  version INTEGER PRIMARY KEY,
  changed_at TIMESTAMP NOT NULL,
  changed_by VARCHAR NOT NULL,
  reason VARCHAR,
  policy JSON NOT NULL
);

-- Gateways that have reported, as they stood last.
CREATE TABLE gateway (
  name VARCHAR PRIMARY KEY,
  identity VARCHAR NOT NULL,          -- of the process: two at work under one name are told apart by it
  node VARCHAR NOT NULL,
  url VARCHAR NOT NULL,
  version VARCHAR NOT NULL,
  first_seen_at TIMESTAMP NOT NULL,
  last_seen_at TIMESTAMP NOT NULL,
  started_at TIMESTAMP NOT NULL,
  heartbeat_seconds DOUBLE NOT NULL,
  policy_version INTEGER,             -- that it decides by; NULL is the one of its own settings
  policy_seen_at TIMESTAMP,           -- when it last heard that this one is in force
  waiting_rows BIGINT NOT NULL,
  dropped_rows BIGINT NOT NULL,       -- since it started
  details JSON NOT NULL
);
