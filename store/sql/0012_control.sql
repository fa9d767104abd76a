-- Nothing was written to these so far; now that something decides it is known what has to be kept.
DROP TABLE observation;
DROP TABLE decision;
DROP TABLE action;
DROP TABLE outcome;

-- One step of pools that are decided together: what was given and what came of it, as canonical JSON, so that it
-- can be made again to the same bytes. The memory that was given stands here at the beginning of a chain; else it
-- is what the step `previous_id` left behind.
CREATE TABLE observation (
  observation_id BIGINT PRIMARY KEY,
  observed_at TIMESTAMP NOT NULL,
  fleet VARCHAR NOT NULL,
  policy VARCHAR NOT NULL,
  parameters JSON NOT NULL,
  code VARCHAR NOT NULL,
  previous_id BIGINT,
  memory JSON,
  content JSON NOT NULL,
  result JSON NOT NULL,
  notes VARCHAR[] NOT NULL,
  seconds DOUBLE
);

-- One pool's part of a step, or of a change by hand (then without an observation).
CREATE TABLE decision (
  decision_id BIGINT PRIMARY KEY,
  observation_id BIGINT,
  decided_at TIMESTAMP NOT NULL,
  pool VARCHAR NOT NULL,
  policy VARCHAR NOT NULL,
  mode VARCHAR NOT NULL,
  kind VARCHAR NOT NULL CHECK (kind IN ('up', 'down', 'hold')),
  before_replicas INTEGER,
  proposed_replicas INTEGER,
  final_replicas INTEGER,
  ready INTEGER,
  starting INTEGER,
  draining INTEGER,
  binding VARCHAR NOT NULL,
  code VARCHAR NOT NULL,
  reason VARCHAR NOT NULL,
  clips JSON NOT NULL,
  numbers JSON NOT NULL,
  platform_version VARCHAR NOT NULL,
  repeats BIGINT,
  expires_at TIMESTAMP
);

-- What was done about a decision, each attempt.
CREATE TABLE action (
  decision_id BIGINT NOT NULL,
  attempt INTEGER NOT NULL,
  acted_at TIMESTAMP NOT NULL,
  pool VARCHAR NOT NULL,
  actuator VARCHAR NOT NULL,
  replicas INTEGER NOT NULL,
  outcome VARCHAR NOT NULL,
  text VARCHAR NOT NULL,
  seconds DOUBLE,
  platform_version VARCHAR NOT NULL,
  details JSON,
  PRIMARY KEY (decision_id, attempt)
);

-- What came true of what was expected, after the settling time.
CREATE TABLE outcome (
  decision_id BIGINT NOT NULL,
  measured_at TIMESTAMP NOT NULL,
  quantity VARCHAR NOT NULL,
  predicted DOUBLE,
  observed DOUBLE,
  PRIMARY KEY (decision_id, quantity)
);

-- What became of a decision that waited for a person.
CREATE TABLE verdict (
  decision_id BIGINT PRIMARY KEY,
  given_at TIMESTAMP NOT NULL,
  verdict VARCHAR NOT NULL CHECK (verdict IN ('approved', 'rejected', 'expired', 'replaced')),
  given_by VARCHAR NOT NULL,
  comment VARCHAR
);

-- How each pool is to be treated: modes, freezes, changes by others. Only ever added to; the newest of each kind
-- counts, and the version of the newest row is what a person's change must have seen.
CREATE TABLE control_change (
  version BIGINT PRIMARY KEY,
  changed_at TIMESTAMP NOT NULL,
  pool VARCHAR NOT NULL,
  kind VARCHAR NOT NULL CHECK (kind IN ('mode', 'freeze', 'resume', 'foreign')),
  value VARCHAR,
  until_at TIMESTAMP,
  replicas INTEGER,
  changed_by VARCHAR NOT NULL,
  comment VARCHAR
);
