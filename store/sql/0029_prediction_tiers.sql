-- Every fourth prediction, every sixteenth and so on, by the key of the request, which is a hash: a page over a long
-- range reads a few tens of thousands of them, and need not take its pick out of all there are. Written in the same
-- transaction as `prediction`.
CREATE TABLE prediction_in_4 AS SELECT * FROM prediction WHERE request_key % 4 = 0;
CREATE TABLE prediction_in_16 AS SELECT * FROM prediction_in_4 WHERE request_key % 16 = 0;
CREATE TABLE prediction_in_64 AS SELECT * FROM prediction_in_16 WHERE request_key % 64 = 0;
CREATE TABLE prediction_in_256 AS SELECT * FROM prediction_in_64 WHERE request_key % 256 = 0;
CREATE TABLE prediction_in_1024 AS SELECT * FROM prediction_in_256 WHERE request_key % 1024 = 0;
