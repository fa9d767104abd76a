CREATE TABLE rollup_gauge (
  series_id INTEGER NOT NULL,
  bucket_at TIMESTAMP NOT NULL,
  sample_count INTEGER NOT NULL,
  value_sum DOUBLE NOT NULL,
  value_max DOUBLE NOT NULL,
  value_last DOUBLE NOT NULL,
  last_at TIMESTAMP NOT NULL
);

-- Of each series and bucket the first point, the last, and both sides of every drop.
CREATE TABLE rollup_counter (
  series_id INTEGER NOT NULL,
  sampled_at TIMESTAMP NOT NULL,
  value DOUBLE NOT NULL
);

-- The same of histograms, and both sides of every change of edges.
CREATE TABLE rollup_histogram (
  series_id INTEGER NOT NULL,
  sampled_at TIMESTAMP NOT NULL,
  observation_count DOUBLE NOT NULL,
  observation_sum DOUBLE,
  edges DOUBLE[] NOT NULL,
  cumulative_counts DOUBLE[] NOT NULL
);

-- One row once something was rolled up: before rolled_until every bucket is, but for those in
-- rollup_sample_dirty; samples before raw_since are deleted.
CREATE TABLE rollup_sample_state (
  rolled_until TIMESTAMP NOT NULL,
  raw_since TIMESTAMP
);

CREATE TABLE rollup_sample_dirty (
  bucket_at TIMESTAMP PRIMARY KEY
);
