-- How far a signal can be trusted, one row a change: a grade holds until the next row of the same target and signal.
-- signal '' is the target as a whole.
CREATE TABLE signal_grade (
  target_id INTEGER NOT NULL,
  signal VARCHAR NOT NULL,
  graded_at TIMESTAMP NOT NULL,
  grade VARCHAR NOT NULL,
  evidence VARCHAR NOT NULL,
  advice VARCHAR,
  PRIMARY KEY (target_id, signal, graded_at)
);

-- Batches that an agent has sent, so that one sent again is known at the door.
CREATE TABLE ingest_batch (
  sender VARCHAR NOT NULL,
  batch_id VARCHAR NOT NULL,
  received_at TIMESTAMP NOT NULL,
  row_count BIGINT NOT NULL,
  PRIMARY KEY (sender, batch_id)
);

-- What was refused or left out at a door, counted per ten minutes: nothing is dropped unseen.
CREATE TABLE ingest_drop (
  bucket_at TIMESTAMP NOT NULL,
  door VARCHAR NOT NULL,
  reason VARCHAR NOT NULL,
  dropped_count BIGINT NOT NULL,
  example VARCHAR,
  PRIMARY KEY (bucket_at, door, reason)
);
