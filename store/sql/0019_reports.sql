-- Schedules of reports, as they were told: only ever added to. The newest `set` or `removed` of a name and a place says
-- what it is, the newest `enabled` or `disabled` of a name whether it is at work.
CREATE TABLE report_schedule (
  version BIGINT PRIMARY KEY,
  name VARCHAR NOT NULL,
  place VARCHAR NOT NULL CHECK (place IN ('file', 'store')),
  kind VARCHAR NOT NULL CHECK (kind IN ('set', 'removed', 'enabled', 'disabled')),
  changed_at TIMESTAMP NOT NULL,
  changed_by VARCHAR NOT NULL,
  definition JSON
);

-- One report of a schedule for a period: asked for once, however often the server was ended meanwhile.
CREATE TABLE report_run (
  run_id VARCHAR PRIMARY KEY,
  schedule VARCHAR NOT NULL,
  period VARCHAR NOT NULL,
  cause VARCHAR NOT NULL,             -- due, late, asked
  asked_by VARCHAR NOT NULL,
  asked_at TIMESTAMP NOT NULL,
  due_at TIMESTAMP,                   -- NULL where nobody but a person asked for it
  definition JSON NOT NULL,           -- of the schedule, as it was then
  channels VARCHAR[] NOT NULL         -- that it goes to
);

-- How a run stands: only ever added to, the newest counts.
CREATE TABLE report_state (
  run_id VARCHAR NOT NULL,
  changed_at TIMESTAMP NOT NULL,
  state VARCHAR NOT NULL,
  text VARCHAR,
  details JSON
);

-- Every attempt to deliver a run.
CREATE TABLE report_delivery (
  run_id VARCHAR NOT NULL,
  channel VARCHAR NOT NULL,
  attempt INTEGER NOT NULL,
  attempted_at TIMESTAMP NOT NULL,
  state VARCHAR NOT NULL,
  text VARCHAR NOT NULL,
  seconds DOUBLE,
  next_at TIMESTAMP,                  -- NULL: there is no next attempt
  PRIMARY KEY (run_id, channel, attempt)
);
