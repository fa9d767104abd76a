-- What was expected, what was decided, what was done and what then happened. Nothing writes here before the
-- predictors and the controller exist; the tables fix the nouns, so that exports and replays keep their shape.
CREATE TABLE instance_start (
  instance VARCHAR NOT NULL,
  model VARCHAR,
  node VARCHAR,
  phase VARCHAR NOT NULL,
  started_at TIMESTAMP NOT NULL,
  ended_at TIMESTAMP,
  cache_state VARCHAR,
  evidence VARCHAR NOT NULL,
  PRIMARY KEY (instance, phase, started_at)
);

CREATE TABLE gpu_fault (
  node VARCHAR NOT NULL,
  gpu VARCHAR,
  started_at TIMESTAMP NOT NULL,
  ended_at TIMESTAMP,
  kind VARCHAR NOT NULL,
  details JSON
);

CREATE TABLE model (
  model_id VARCHAR PRIMARY KEY,
  predictor VARCHAR NOT NULL,
  trained_at TIMESTAMP NOT NULL,
  data_until TIMESTAMP NOT NULL,
  artifact_hash VARCHAR NOT NULL,
  manifest JSON NOT NULL
);

CREATE TABLE evaluation (
  model_id VARCHAR NOT NULL,
  evaluated_at TIMESTAMP NOT NULL,
  split VARCHAR NOT NULL,
  metric VARCHAR NOT NULL,
  value DOUBLE,
  baseline_value DOUBLE,
  n BIGINT NOT NULL
);

CREATE TABLE prediction (
  request_key UBIGINT NOT NULL,
  source_id SMALLINT NOT NULL,
  predicted_at TIMESTAMP NOT NULL,
  quantity VARCHAR NOT NULL,
  quantiles DOUBLE[] NOT NULL,
  predicted DOUBLE[] NOT NULL,
  model_id VARCHAR NOT NULL,
  was_fallback BOOLEAN NOT NULL
);

CREATE TABLE forecast (
  made_at TIMESTAMP NOT NULL,
  key VARCHAR NOT NULL,
  quantity VARCHAR NOT NULL,
  horizon_seconds DOUBLE NOT NULL,
  quantiles DOUBLE[] NOT NULL,
  predicted DOUBLE[] NOT NULL,
  model_id VARCHAR NOT NULL,
  features_age_seconds DOUBLE,
  was_fallback BOOLEAN NOT NULL
);

CREATE TABLE observation (
  observation_id BIGINT PRIMARY KEY,
  observed_at TIMESTAMP NOT NULL,
  pool VARCHAR NOT NULL,
  content JSON NOT NULL
);

CREATE TABLE decision (
  decision_id BIGINT PRIMARY KEY,
  observation_id BIGINT NOT NULL,
  decided_at TIMESTAMP NOT NULL,
  pool VARCHAR NOT NULL,
  policy VARCHAR NOT NULL,
  mode VARCHAR NOT NULL,
  proposal JSON NOT NULL,
  guarded JSON NOT NULL,
  reasons VARCHAR[] NOT NULL,
  memory JSON NOT NULL
);

CREATE TABLE action (
  decision_id BIGINT NOT NULL,
  acted_at TIMESTAMP NOT NULL,
  actuator VARCHAR NOT NULL,
  outcome VARCHAR NOT NULL,
  details JSON,
  PRIMARY KEY (decision_id, actuator)
);

CREATE TABLE outcome (
  decision_id BIGINT NOT NULL,
  measured_at TIMESTAMP NOT NULL,
  quantity VARCHAR NOT NULL,
  predicted DOUBLE,
  observed DOUBLE,
  PRIMARY KEY (decision_id, quantity)
);
