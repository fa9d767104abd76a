-- Comparisons of policies by replay. A run is what was asked and how wrong the model was; an outcome is one
-- replay; a lane is a course of replicas. Times of lanes are seconds from the start of the replayed part.
CREATE TABLE replay_run (
  replay_id VARCHAR PRIMARY KEY,
  created_at TIMESTAMP NOT NULL,
  created_by VARCHAR NOT NULL,
  trace VARCHAR NOT NULL,
  asked JSON NOT NULL,
  goal_ratio DOUBLE NOT NULL,
  profile JSON NOT NULL,
  validity VARCHAR NOT NULL,
  is_validated BOOLEAN NOT NULL,
  fit_error_median_ratio DOUBLE,
  fit_error_p99_ratio DOUBLE,
  fit_error_rows BIGINT
);

-- How a run stands: only ever added to; the newest row counts.
CREATE TABLE replay_state (
  replay_id VARCHAR NOT NULL,
  changed_at TIMESTAMP NOT NULL,
  state VARCHAR NOT NULL,
  text VARCHAR,
  seconds DOUBLE
);

CREATE TABLE replay_outcome (
  replay_id VARCHAR NOT NULL,
  "case" VARCHAR,
  startup_seconds DOUBLE NOT NULL,
  policy VARCHAR NOT NULL,
  title VARCHAR NOT NULL,
  "row" VARCHAR NOT NULL,
  parameters VARCHAR NOT NULL,
  seed BIGINT NOT NULL,
  state VARCHAR NOT NULL,
  reason VARCHAR,
  requests BIGINT,
  attainment_ratio DOUBLE,
  gpu_hours DOUBLE,
  cost DOUBLE,
  ttft_p50_seconds DOUBLE,
  ttft_p99_seconds DOUBLE,
  tpot_p50_seconds DOUBLE,
  tpot_p99_seconds DOUBLE,
  refused_ratio DOUBLE,
  worst_minute_ratio DOUBLE,
  scale_events DOUBLE,
  most_replicas DOUBLE,
  advice VARCHAR[],
  run_seconds DOUBLE
);

CREATE TABLE replay_lane (
  replay_id VARCHAR NOT NULL,
  "case" VARCHAR,
  startup_seconds DOUBLE NOT NULL,
  policy VARCHAR NOT NULL,
  "row" VARCHAR NOT NULL,
  seed BIGINT NOT NULL,
  at_seconds DOUBLE NOT NULL,
  pool BIGINT NOT NULL,
  target BIGINT NOT NULL,
  ready BIGINT NOT NULL,
  starting BIGINT NOT NULL,
  draining BIGINT NOT NULL
);

-- What somebody wants watched beside the policy that decides: never an action.
CREATE TABLE policy_candidate (
  candidate_id BIGINT PRIMARY KEY,
  pool VARCHAR NOT NULL,
  policy VARCHAR NOT NULL,
  parameters JSON NOT NULL,
  replay_id VARCHAR,
  created_at TIMESTAMP NOT NULL,
  created_by VARCHAR NOT NULL,
  state VARCHAR NOT NULL
);
