-- Agents that have reported, as they stood last. What they were is in the samples of target agent://NAME.
CREATE TABLE agent (
  name VARCHAR PRIMARY KEY,
  identity VARCHAR NOT NULL,          -- drawn once for a spool: two under one name are two agents
  node VARCHAR NOT NULL,
  version VARCHAR NOT NULL,
  first_seen_at TIMESTAMP NOT NULL,
  last_seen_at TIMESTAMP NOT NULL,
  started_at TIMESTAMP NOT NULL,
  heartbeat_seconds DOUBLE NOT NULL,
  clock_offset_seconds DOUBLE,        -- the agent's clock minus the server's
  clock_error_seconds DOUBLE,         -- how far off that may be: half the round trip
  waiting_batches BIGINT NOT NULL,
  waiting_rows BIGINT NOT NULL,
  spool_bytes BIGINT NOT NULL,
  waiting_since TIMESTAMP,            -- when the oldest of them was spooled, by the agent's clock
  dropped_rows BIGINT NOT NULL,       -- since the agent started
  details JSON NOT NULL
);
