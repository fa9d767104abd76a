-- Requests that were predicted and learnt from, while their ends are recent: nothing is predicted
-- twice, whenever the process is killed.
CREATE TABLE predicted_request (
  arrived_at TIMESTAMP NOT NULL,
  request_key UBIGINT NOT NULL,
  finished_at TIMESTAMP NOT NULL
);

-- How intervals stand and who won so far, written in the transaction of the predictions it follows.
CREATE TABLE predictor_state (
  predictor VARCHAR PRIMARY KEY,
  model_id VARCHAR NOT NULL,
  saved_at TIMESTAMP NOT NULL,
  state JSON NOT NULL
);
