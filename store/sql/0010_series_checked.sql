-- When series were last looked through for those without any point left.
ALTER TABLE rollup_sample_state ADD COLUMN series_checked_at TIMESTAMP;
