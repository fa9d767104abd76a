-- When requests of the live fleet came, by the hour: what their gaps and their counts in windows add up to. Counted together with
-- rollup_1h, and true wherever that is. Of requests that count, as the workload views tell them; times in microseconds since 1970.
CREATE TABLE rollup_arrival (
  source_id SMALLINT NOT NULL,
  hour_at TIMESTAMP NOT NULL,
  requests BIGINT NOT NULL,
  stamps BIGINT NOT NULL,             -- different times of arrival
  first_us BIGINT NOT NULL,
  last_us BIGINT NOT NULL,
  gap_spread DOUBLE NOT NULL,         -- sum of (gap - mean gap of the hour)^2
  largest_gap_us BIGINT,              -- of gaps between requests of this hour; NULL without one
  largest_after_us BIGINT,            -- the arrival it follows
  gaps BIGINT[] NOT NULL,             -- one gap in 16, in order of arrival
  seconds INTEGER NOT NULL,           -- seconds with a request
  least_1s INTEGER NOT NULL,          -- requests in the emptiest of them
  most_1s INTEGER NOT NULL,           -- most requests in a window of the clock that is so long
  most_10s INTEGER NOT NULL,
  most_60s INTEGER NOT NULL,
  most_600s INTEGER NOT NULL,
  squares_1s BIGINT NOT NULL,         -- sum of (requests in such a window)^2
  squares_10s BIGINT NOT NULL,
  squares_60s BIGINT NOT NULL,
  squares_600s BIGINT NOT NULL
);
-- What is there is counted again, once, by the job that keeps roll-ups; until then it is read from the rows.
INSERT OR IGNORE INTO rollup_dirty
SELECT DISTINCT source_id, time_bucket(INTERVAL 600 SECONDS, arrived_at, TIMESTAMP '1970-01-01') FROM request
WHERE source_id = 1;
