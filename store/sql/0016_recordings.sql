-- Rows of a live fleet that were imported under another name are a recording, not a fleet that goes on: their "now" is
-- their last row, not the clock on the wall.
UPDATE source SET kind = 'trace' WHERE source_id <> 1 AND kind = 'live';
