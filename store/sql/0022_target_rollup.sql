-- What a target was over five minutes: scrapes that worked, and moments at which its load was told.
CREATE TABLE rollup_target (
  target_id INTEGER NOT NULL,
  bucket_at TIMESTAMP NOT NULL,
  scrape_count INTEGER NOT NULL,
  first_at TIMESTAMP,
  last_at TIMESTAMP,
  load_count INTEGER NOT NULL,
  busy_count INTEGER NOT NULL
);

-- Before targets_since nothing of this is rolled up: null where nothing is at all.
ALTER TABLE rollup_sample_state ADD COLUMN targets_since TIMESTAMP;
UPDATE rollup_sample_state SET targets_since = rolled_until;
