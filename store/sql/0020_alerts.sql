-- Alerts: every change of a state, every word to a receiver, every silence; rows are only ever added.
CREATE TABLE alert_change (
  change_id BIGINT PRIMARY KEY,
  changed_at TIMESTAMP NOT NULL,
  fingerprint VARCHAR NOT NULL,
  rule VARCHAR NOT NULL,
  severity VARCHAR NOT NULL CHECK (severity IN ('page', 'ticket')),
  state VARCHAR NOT NULL CHECK (state IN ('inactive', 'pending', 'firing', 'resolved')),
  active_at TIMESTAMP NOT NULL,
  fired_at TIMESTAMP,
  labels JSON NOT NULL,
  value DOUBLE,
  summary VARCHAR NOT NULL,
  page VARCHAR NOT NULL,
  params JSON NOT NULL,
  back_seconds DOUBLE NOT NULL,
  why VARCHAR NOT NULL
);

-- The newest row of a silence counts; ending it is a row with an earlier end.
CREATE TABLE alert_silence (
  version BIGINT PRIMARY KEY,
  changed_at TIMESTAMP NOT NULL,
  changed_by VARCHAR NOT NULL,
  silence_id VARCHAR NOT NULL,
  starts_at TIMESTAMP NOT NULL,
  ends_at TIMESTAMP NOT NULL,
  matchers JSON NOT NULL,
  created_by VARCHAR NOT NULL,
  comment VARCHAR NOT NULL,
  origin VARCHAR NOT NULL
);

-- What a receiver was told of a group, or could not be told. `known` are the episodes it believes to fire.
CREATE TABLE alert_notification (
  notification_id BIGINT PRIMARY KEY,
  sent_at TIMESTAMP NOT NULL,
  receiver VARCHAR NOT NULL,
  group_key VARCHAR NOT NULL,
  outcome VARCHAR NOT NULL CHECK (outcome IN ('sent', 'failed')),
  attempt INTEGER NOT NULL,
  known VARCHAR[] NOT NULL,
  firing INTEGER NOT NULL,
  resolved INTEGER NOT NULL,
  seconds DOUBLE,
  error VARCHAR
);
