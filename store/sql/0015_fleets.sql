-- Replays of whole fleets: the pools, and how they were compared. Of each replay: what guards held or clipped,
-- the GPU-hours of each pool, and how good the forecasts were that it was given; all as JSON.
ALTER TABLE replay_run ADD COLUMN fleet JSON;
ALTER TABLE replay_outcome ADD COLUMN clips VARCHAR;
ALTER TABLE replay_outcome ADD COLUMN pool_gpu_hours VARCHAR;
ALTER TABLE replay_outcome ADD COLUMN forecasts VARCHAR;
