-- The 95 % quantiles of what was replayed, beside median and 99 %; null in rows of before.
ALTER TABLE replay_outcome ADD COLUMN ttft_p95_seconds DOUBLE;
ALTER TABLE replay_outcome ADD COLUMN tpot_p95_seconds DOUBLE;
