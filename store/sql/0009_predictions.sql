-- The two tables were empty until now: nothing predicted before this step.
DROP TABLE prediction;
DROP TABLE forecast;

-- What was said about one request, beside what its naive rival said. The outcome is the request
-- itself: (source_id, arrived_at, request_key).
CREATE TABLE prediction (
  source_id SMALLINT NOT NULL,
  arrived_at TIMESTAMP NOT NULL,
  request_key UBIGINT NOT NULL,
  quantity VARCHAR NOT NULL,
  predicted_at TIMESTAMP NOT NULL,
  key VARCHAR[] NOT NULL,
  levels DOUBLE[] NOT NULL,
  predicted DOUBLE[] NOT NULL,
  rival DOUBLE[] NOT NULL,
  model_id VARCHAR NOT NULL,
  rival_id VARCHAR NOT NULL,
  calibration VARCHAR NOT NULL,
  was_fallback BOOLEAN NOT NULL,
  was_before BOOLEAN NOT NULL,
  features_age_seconds DOUBLE
);

-- What was said about a pool, tenant or instance at a later time.
CREATE TABLE forecast (
  source_id SMALLINT NOT NULL,
  made_at TIMESTAMP NOT NULL,
  quantity VARCHAR NOT NULL,
  key VARCHAR[] NOT NULL,
  horizon_seconds DOUBLE NOT NULL,
  levels DOUBLE[] NOT NULL,
  predicted DOUBLE[] NOT NULL,
  rival DOUBLE[] NOT NULL,
  model_id VARCHAR NOT NULL,
  rival_id VARCHAR NOT NULL,
  calibration VARCHAR NOT NULL,
  was_fallback BOOLEAN NOT NULL,
  features_age_seconds DOUBLE
);

-- Which model answers since when; the newest row of a predictor counts.
CREATE TABLE promotion (
  predictor VARCHAR NOT NULL,
  model_id VARCHAR NOT NULL,
  promoted_at TIMESTAMP NOT NULL,
  promoted_by VARCHAR NOT NULL,
  reason VARCHAR NOT NULL
);
