-- How requests ended and how long they were, by the hour in which they came; counted together with rollup_1h, and true
-- wherever that is. Of requests that count, as the workload views tell them.
CREATE TABLE rollup_outcome (
  source_id SMALLINT NOT NULL,
  hour_at TIMESTAMP NOT NULL,
  labels_id INTEGER NOT NULL,
  status request_status NOT NULL,
  requests BIGINT NOT NULL,
  inputs BIGINT NOT NULL,             -- requests of known input
  input_tokens BIGINT,
  outputs BIGINT NOT NULL,
  output_tokens BIGINT,
  first_at TIMESTAMP NOT NULL,
  last_at TIMESTAMP NOT NULL
);
-- How often each length occurs: inputs of all, outputs of what succeeded.
CREATE TABLE rollup_length (
  source_id SMALLINT NOT NULL,
  hour_at TIMESTAMP NOT NULL,
  is_output BOOLEAN NOT NULL,
  tokens INTEGER NOT NULL,
  requests INTEGER NOT NULL
);
-- Successful requests of two known lengths by the octaves of both; -1 is zero tokens.
CREATE TABLE rollup_length_pair (
  source_id SMALLINT NOT NULL,
  hour_at TIMESTAMP NOT NULL,
  input_octave SMALLINT NOT NULL,
  output_octave SMALLINT NOT NULL,
  requests BIGINT NOT NULL,
  input_tokens BIGINT NOT NULL,
  output_tokens BIGINT NOT NULL
);
-- What is there is counted again, once, by the job that keeps roll-ups; until then it is read from the rows.
INSERT OR IGNORE INTO rollup_dirty
SELECT DISTINCT source_id, time_bucket(INTERVAL 600 SECONDS, arrived_at, TIMESTAMP '1970-01-01') FROM request;
