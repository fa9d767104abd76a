-- Back-tests of predictors on rows of this store: fitted before an instant, judged on what came after it.
CREATE TABLE backtest (
  backtest_id VARCHAR PRIMARY KEY,
  predictor VARCHAR NOT NULL,
  made_at TIMESTAMP NOT NULL,
  made_by VARCHAR NOT NULL,
  source VARCHAR NOT NULL,            -- whose rows, as they were asked for
  data_from TIMESTAMP NOT NULL,       -- of the rows; trace time for a trace
  data_until TIMESTAMP NOT NULL,
  rows BIGINT NOT NULL,
  windows INTEGER NOT NULL,
  unit VARCHAR NOT NULL,
  rival VARCHAR NOT NULL,
  seconds DOUBLE                      -- processor time
);

-- One window, horizon and run of neighbours in time; losses and errors are sums over its rows.
CREATE TABLE backtest_cell (
  backtest_id VARCHAR NOT NULL,
  "window" INTEGER NOT NULL,
  learnt_until TIMESTAMP NOT NULL,    -- all that was learnt from was known by then
  judged_until TIMESTAMP NOT NULL,
  learnt_rows BIGINT NOT NULL,
  horizon_seconds DOUBLE,             -- NULL where the question has no horizon
  block INTEGER NOT NULL,
  n BIGINT NOT NULL,
  loss DOUBLE NOT NULL,
  rival_loss DOUBLE NOT NULL,
  season_loss DOUBLE,                 -- of the same time yesterday; NULL unless known for every row
  absolute_error DOUBLE NOT NULL,
  rival_absolute_error DOUBLE NOT NULL,
  outcome_sum DOUBLE NOT NULL,
  below_q90 BIGINT NOT NULL,
  inside_90 BIGINT NOT NULL,
  fallbacks BIGINT NOT NULL
);
