"""The fleet in a terminal: one answer of the server as header, tiles and tables."""
