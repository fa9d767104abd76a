-- Sums of the phases of successful requests by the hour in which they came and by logarithmic bin of their whole duration;
-- counted together with rollup_1h, and true wherever that is.
CREATE TABLE rollup_phase (
  source_id SMALLINT NOT NULL,
  hour_at TIMESTAMP NOT NULL,
  model VARCHAR,
  route VARCHAR,
  log_bin SMALLINT NOT NULL,
  requests BIGINT NOT NULL,
  e2e DOUBLE NOT NULL,
  queue DOUBLE,
  prefill DOUBLE,
  first_token DOUBLE,
  decode DOUBLE,
  prefill_told BIGINT NOT NULL,
  decode_told BIGINT NOT NULL
);
-- What is there is counted again, once, by the job that keeps roll-ups; until then it is read from the rows.
INSERT OR IGNORE INTO rollup_dirty
SELECT DISTINCT source_id, time_bucket(INTERVAL 600 SECONDS, arrived_at, TIMESTAMP '1970-01-01') FROM request;
