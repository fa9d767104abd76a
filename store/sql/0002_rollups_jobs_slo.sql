-- Derived tables and the record of what the server itself did.

-- Counts per 10 minutes (by model) and per hour (by tenant); latencies and lengths as log2 bins, 16 to the octave.
-- quantity 'arrival' has log_bin 0 and one row per status.
CREATE TABLE rollup_10m (
  source_id SMALLINT NOT NULL,
  bucket_at TIMESTAMP NOT NULL,
  model VARCHAR,
  route VARCHAR,
  status request_status NOT NULL,
  quantity VARCHAR NOT NULL,
  log_bin SMALLINT NOT NULL,
  request_count BIGINT NOT NULL,
  value_sum DOUBLE
);

CREATE TABLE rollup_1h (
  source_id SMALLINT NOT NULL,
  bucket_at TIMESTAMP NOT NULL,
  tenant VARCHAR,
  status request_status NOT NULL,
  quantity VARCHAR NOT NULL,
  log_bin SMALLINT NOT NULL,
  request_count BIGINT NOT NULL,
  value_sum DOUBLE
);

-- Ten-minute buckets whose rows changed since their roll-up was made; readers take these from the raw rows.
CREATE TABLE rollup_dirty (
  source_id SMALLINT NOT NULL,
  bucket_at TIMESTAMP NOT NULL,
  PRIMARY KEY (source_id, bucket_at)
);

-- The definitions that were in force, as read from the text file; the file is the truth, this is its history.
CREATE TABLE slo (
  name VARCHAR NOT NULL,
  definition JSON NOT NULL,
  definition_hash VARCHAR NOT NULL,
  since_at TIMESTAMP NOT NULL,
  PRIMARY KEY (name, definition_hash)
);

CREATE TABLE job_run (
  job VARCHAR NOT NULL,
  started_at TIMESTAMP NOT NULL,
  seconds DOUBLE,
  outcome VARCHAR NOT NULL CHECK (outcome IN ('done', 'failed', 'skipped')),
  error VARCHAR,
  details JSON
);

CREATE TABLE report (
  report_id VARCHAR PRIMARY KEY,
  template VARCHAR NOT NULL,
  period_start TIMESTAMP NOT NULL,
  period_end TIMESTAMP NOT NULL,
  made_at TIMESTAMP NOT NULL,
  outcome VARCHAR NOT NULL,
  document JSON
);

CREATE TABLE audit (
  happened_at TIMESTAMP NOT NULL,
  actor VARCHAR NOT NULL,
  action VARCHAR NOT NULL,
  subject VARCHAR,
  before JSON,
  after JSON,
  origin VARCHAR,
  comment VARCHAR
);
