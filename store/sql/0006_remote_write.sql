-- Pieces of pushed pages that were acknowledged before the rest of their page came, as remote-write 1.0 bodies.
-- A piece goes when its page is stored; what is left after a crash is taken in again.
CREATE TABLE remote_write_part (
  part_id BIGINT PRIMARY KEY,
  received_at TIMESTAMP NOT NULL,
  body BLOB NOT NULL
);
