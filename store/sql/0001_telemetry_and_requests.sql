-- What was seen: sources, targets, samples, requests. Times are UTC, or trace time where a source's clock is relative.
CREATE TYPE request_status AS ENUM ('ok', 'failed', 'refused', 'aborted');

CREATE TABLE source (
  source_id SMALLINT PRIMARY KEY,
  name VARCHAR NOT NULL UNIQUE,
  kind VARCHAR NOT NULL CHECK (kind IN ('live', 'trace')),
  format VARCHAR NOT NULL,
  clock VARCHAR NOT NULL CHECK (clock IN ('utc', 'local_unknown', 'relative')),
  clock_resolution_seconds DOUBLE,
  time_zone VARCHAR,
  prefix_block_tokens INTEGER,
  licence VARCHAR,
  details JSON,
  created_at TIMESTAMP NOT NULL
);

-- Each distinct combination of labels once; the hot table carries one small number for it.
CREATE TABLE request_labels (
  labels_id INTEGER PRIMARY KEY,
  tenant VARCHAR,
  model VARCHAR,
  route VARCHAR,
  instance VARCHAR,
  slo_class VARCHAR,
  finish_reason VARCHAR
);

-- One row a request. (source_id, arrived_at, request_key) is unique: the writer keeps it so, because an
-- index over ten million rows costs more than the check at the only door.
CREATE TABLE request (
  request_key UBIGINT NOT NULL,
  source_id SMALLINT NOT NULL,
  import_id INTEGER,
  arrived_at TIMESTAMP NOT NULL,
  status request_status NOT NULL,
  labels_id INTEGER NOT NULL,
  input_tokens INTEGER,
  output_tokens INTEGER,
  cached_tokens INTEGER,
  predicted_output_tokens INTEGER,
  queue_seconds DOUBLE,
  prefill_seconds DOUBLE,
  decode_seconds DOUBLE,
  ttft_seconds DOUBLE,
  tpot_seconds DOUBLE,
  e2e_seconds DOUBLE,
  session_key UBIGINT,
  trace_id UUID,
  decision_id BIGINT
);

CREATE TABLE request_prefix (
  source_id SMALLINT NOT NULL,
  request_key UBIGINT NOT NULL,
  arrived_at TIMESTAMP NOT NULL,
  block_hashes UBIGINT[] NOT NULL
);

CREATE TABLE session (
  source_id SMALLINT NOT NULL,
  session_key UBIGINT NOT NULL,
  session_id VARCHAR NOT NULL,
  PRIMARY KEY (source_id, session_key)
);

CREATE TABLE client_rate (
  source_id SMALLINT NOT NULL,
  client VARCHAR NOT NULL,
  window_start_at TIMESTAMP NOT NULL,
  window_seconds DOUBLE NOT NULL,
  rate_per_second DOUBLE NOT NULL,
  interarrival_cv DOUBLE,
  family VARCHAR,
  shape DOUBLE,
  scale_seconds DOUBLE,
  PRIMARY KEY (source_id, client, window_start_at)
);

CREATE TABLE import_run (
  import_id INTEGER PRIMARY KEY,
  source_id SMALLINT NOT NULL,
  file VARCHAR NOT NULL,
  format VARCHAR NOT NULL,
  rows_read BIGINT NOT NULL,
  rows_added BIGINT NOT NULL,
  rows_duplicate BIGINT NOT NULL,
  rows_rejected BIGINT NOT NULL,
  rejects_file VARCHAR,
  seconds DOUBLE NOT NULL,
  finished_at TIMESTAMP NOT NULL,
  report JSON
);

CREATE TABLE target (
  target_id INTEGER PRIMARY KEY,
  url VARCHAR NOT NULL UNIQUE,
  engine VARCHAR,
  engine_version VARCHAR,
  model VARCHAR,
  labels JSON,
  added_at TIMESTAMP NOT NULL,
  removed_at TIMESTAMP
);

CREATE TABLE scrape (
  target_id INTEGER NOT NULL,
  scraped_at TIMESTAMP NOT NULL,
  duration_seconds DOUBLE NOT NULL,
  outcome VARCHAR NOT NULL,
  error VARCHAR,
  body_bytes BIGINT,
  sample_count INTEGER,
  bad_line_count INTEGER,
  unknown_family_count INTEGER
);

CREATE TABLE series (
  series_id INTEGER PRIMARY KEY,
  target_id INTEGER NOT NULL,
  signal VARCHAR NOT NULL,
  kind VARCHAR NOT NULL CHECK (kind IN ('gauge', 'counter', 'histogram')),
  unit VARCHAR NOT NULL,
  labels JSON NOT NULL,
  UNIQUE (target_id, signal, kind, labels)
);

CREATE TABLE sample (
  series_id INTEGER NOT NULL,
  sampled_at TIMESTAMP NOT NULL,
  value DOUBLE NOT NULL
);

CREATE TABLE histogram_sample (
  series_id INTEGER NOT NULL,
  sampled_at TIMESTAMP NOT NULL,
  observation_count DOUBLE NOT NULL,
  observation_sum DOUBLE,
  edges DOUBLE[] NOT NULL,
  cumulative_counts DOUBLE[] NOT NULL
);

CREATE TABLE event (
  event_id VARCHAR PRIMARY KEY,
  source_id SMALLINT NOT NULL,
  started_at TIMESTAMP NOT NULL,
  ended_at TIMESTAMP,
  kind VARCHAR NOT NULL,
  subject VARCHAR,
  text VARCHAR NOT NULL,
  details JSON
);

CREATE VIEW requests AS
SELECT s.name AS source, r.arrived_at, r.status, l.tenant, l.model, l.route, l.instance, l.slo_class, l.finish_reason,
       r.input_tokens, r.output_tokens, r.cached_tokens, r.predicted_output_tokens,
       r.queue_seconds, r.prefill_seconds, r.decode_seconds, r.ttft_seconds, r.tpot_seconds, r.e2e_seconds,
       n.session_id, r.trace_id, r.decision_id, r.request_key, r.source_id, r.import_id
FROM request AS r
JOIN source AS s USING (source_id)
JOIN request_labels AS l USING (labels_id)
LEFT JOIN session AS n ON n.source_id = r.source_id AND n.session_key = r.session_key;

INSERT INTO source VALUES (1, 'live', 'live', 'live', 'utc', NULL, 'UTC', NULL, NULL, NULL, TIMESTAMP '1970-01-01');
INSERT INTO request_labels VALUES (0, NULL, NULL, NULL, NULL, NULL, NULL);
