-- Of each counter and bucket what it counted, instead of the points to find that from: a rate over
-- many buckets is then a sum. `increase` is from the first point of the bucket to its last,
-- `step_increase` from `before_at`, the last point of the bucket before, to the first; both NULL
-- where that bucket has none. Restarts are known in all of them.
CREATE TABLE rollup_counter_increase (
  series_id INTEGER NOT NULL,
  bucket_at TIMESTAMP NOT NULL,
  first_at TIMESTAMP NOT NULL,
  first_value DOUBLE NOT NULL,
  last_at TIMESTAMP NOT NULL,
  last_value DOUBLE NOT NULL,
  increase DOUBLE NOT NULL,
  before_at TIMESTAMP,
  step_increase DOUBLE
);

-- The points that were kept are all that this takes: ends of buckets, and both sides of drops.
INSERT INTO rollup_counter_increase
SELECT series_id, bucket_at, min(sampled_at), min_by(value, sampled_at), max(sampled_at),
  max_by(value, sampled_at), coalesce(sum(step) FILTER (earlier_at >= bucket_at), 0),
  max(earlier_at) FILTER (earlier_at < bucket_at), sum(step) FILTER (earlier_at < bucket_at)
FROM (
  SELECT *, CASE WHEN value < earlier_value THEN value ELSE value - earlier_value END AS step
  FROM (
    SELECT series_id, bucket_at, sampled_at, value,
      CASE WHEN known_at >= bucket_at - INTERVAL 300 SECONDS THEN known_at END AS earlier_at,
      earlier_value
    FROM (
      SELECT *, time_bucket(INTERVAL 300 SECONDS, sampled_at, TIMESTAMP '1970-01-01') AS bucket_at,
        lag(sampled_at) OVER w AS known_at, lag(value) OVER w AS earlier_value
      FROM rollup_counter WINDOW w AS (PARTITION BY series_id ORDER BY sampled_at))))
GROUP BY series_id, bucket_at ORDER BY bucket_at, series_id;

DROP TABLE rollup_counter;

ALTER TABLE rollup_counter_increase RENAME TO rollup_counter;
