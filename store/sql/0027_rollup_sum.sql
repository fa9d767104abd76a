-- rollup_10m without its bins: what asks for numbers and sums alone reads a twentieth of the rows. Made in the same
-- transactions, so that both are true of the same buckets.
CREATE TABLE rollup_sum (
  source_id SMALLINT NOT NULL,
  bucket_at TIMESTAMP NOT NULL,
  model VARCHAR,
  route VARCHAR,
  status request_status NOT NULL,
  quantity VARCHAR NOT NULL,
  request_count BIGINT NOT NULL,
  value_sum DOUBLE
);
INSERT INTO rollup_sum
SELECT source_id, bucket_at, model, route, status, quantity, sum(request_count)::BIGINT, sum(value_sum)
FROM rollup_10m GROUP BY ALL ORDER BY source_id, bucket_at;
