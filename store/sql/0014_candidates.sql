-- What became of a candidate: only ever added to; `policy_candidate.state` is that of the newest row.
CREATE TABLE candidate_change (
  change_id BIGINT PRIMARY KEY,
  candidate_id BIGINT NOT NULL,
  changed_at TIMESTAMP NOT NULL,
  state VARCHAR NOT NULL CHECK (state IN ('shadow', 'refused', 'withdrawn', 'adopted', 'ended')),
  text VARCHAR,
  changed_by VARCHAR NOT NULL
);

-- A candidate asked beside the policy that decides, about the same observation. What it was given is that
-- observation and `given`: its own targets, when it changed them, and why it was not heard. Memory as in
-- `observation`. Never acted upon; kept apart, so that nobody takes it for a decision.
CREATE TABLE shadow_step (
  step_id BIGINT PRIMARY KEY,
  candidate_id BIGINT NOT NULL,
  observation_id BIGINT NOT NULL,
  stepped_at TIMESTAMP NOT NULL,
  code VARCHAR NOT NULL,
  previous_id BIGINT,
  memory JSON,
  given JSON NOT NULL,
  result JSON NOT NULL,
  seconds DOUBLE
);

-- One pool at one step of the policy that decides: what each of both would have. A row without a step stands for
-- the time between two questions to the candidate.
CREATE TABLE shadow_decision (
  candidate_id BIGINT NOT NULL,
  observation_id BIGINT NOT NULL,
  decided_at TIMESTAMP NOT NULL,
  pool VARCHAR NOT NULL,
  step_id BIGINT,
  kind VARCHAR NOT NULL CHECK (kind IN ('up', 'down', 'hold')),
  before_replicas INTEGER NOT NULL,
  proposed_replicas INTEGER,
  final_replicas INTEGER NOT NULL,
  live_replicas INTEGER NOT NULL,
  there_replicas INTEGER,
  binding VARCHAR NOT NULL,
  code VARCHAR NOT NULL,
  reason VARCHAR NOT NULL,
  requests_per_second DOUBLE,
  input_tokens DOUBLE,
  output_tokens DOUBLE,
  PRIMARY KEY (candidate_id, observation_id, pool)
);

-- Policies are adopted and given back; decisions that nobody was asked about any more are said to be over.
CREATE TEMPORARY TABLE kept_change AS SELECT * FROM control_change;
DROP TABLE control_change;
CREATE TABLE control_change (
  version BIGINT PRIMARY KEY,
  changed_at TIMESTAMP NOT NULL,
  pool VARCHAR NOT NULL,
  kind VARCHAR NOT NULL CHECK (kind IN ('mode', 'freeze', 'resume', 'foreign', 'adopt', 'restore')),
  value VARCHAR,
  until_at TIMESTAMP,
  replicas INTEGER,
  changed_by VARCHAR NOT NULL,
  comment VARCHAR
);
INSERT INTO control_change SELECT * FROM kept_change;
DROP TABLE kept_change;

CREATE TEMPORARY TABLE kept_verdict AS SELECT * FROM verdict;
DROP TABLE verdict;
CREATE TABLE verdict (
  decision_id BIGINT PRIMARY KEY,
  given_at TIMESTAMP NOT NULL,
  verdict VARCHAR NOT NULL
    CHECK (verdict IN ('approved', 'rejected', 'expired', 'replaced', 'superseded')),
  given_by VARCHAR NOT NULL,
  comment VARCHAR
);
INSERT INTO verdict SELECT * FROM kept_verdict;
DROP TABLE kept_verdict;
