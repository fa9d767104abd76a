-- What tenants sent, asked for, got and waited for, summed up by the hour in which their requests came; counted together
-- with rollup_1h, and true wherever that is. Service is that of `Cost()`: input + 2 x output tokens.
CREATE TABLE rollup_tenant (
  source_id SMALLINT NOT NULL,
  hour_at TIMESTAMP NOT NULL,
  tenant VARCHAR,
  status request_status NOT NULL,
  input_octave SMALLINT,
  requests BIGINT NOT NULL,
  sized BIGINT NOT NULL,
  cost DOUBLE NOT NULL,
  input_tokens DOUBLE NOT NULL,
  longest_input DOUBLE,
  waits BIGINT NOT NULL,
  waited_seconds DOUBLE NOT NULL,
  timed BIGINT NOT NULL,
  weight_sum DOUBLE NOT NULL,
  weighted BIGINT NOT NULL,
  whole BIGINT NOT NULL,
  e2e_seconds DOUBLE NOT NULL,
  later_tokens DOUBLE NOT NULL
);
-- Sums by half a minute of what happened to the requests of an hour (`store.queries.served`), which may be later than it.
CREATE TABLE rollup_flow (
  source_id SMALLINT NOT NULL,
  hour_at TIMESTAMP NOT NULL,
  tenant VARCHAR,
  happened_at TIMESTAMP NOT NULL,
  asked DOUBLE NOT NULL,
  refused DOUBLE NOT NULL,
  rate DOUBLE NOT NULL,
  rising DOUBLE NOT NULL,
  waiting INTEGER NOT NULL,
  running INTEGER NOT NULL
);
-- What is there is counted again, once, by the job that keeps roll-ups; until then it is read from the rows.
INSERT OR IGNORE INTO rollup_dirty
SELECT DISTINCT source_id, time_bucket(INTERVAL 600 SECONDS, arrived_at, TIMESTAMP '1970-01-01') FROM request;
