-- Good and bad requests of each objective per ten minutes, exactly counted: a 30-day budget without reading 30 days.
-- dimension '' is the total, there for every bucket that was counted, even when no request matched; the others are
-- model, route, tenant, instance and input_octave. A rule_key stands for what makes a request good and which are meant.
CREATE TABLE rollup_slo (
  source_id SMALLINT NOT NULL,
  bucket_at TIMESTAMP NOT NULL,
  rule_key VARCHAR NOT NULL,
  dimension VARCHAR NOT NULL,
  value VARCHAR,
  good BIGINT NOT NULL,
  bad BIGINT NOT NULL,
  undetermined BIGINT NOT NULL,
  measured BIGINT NOT NULL
);
