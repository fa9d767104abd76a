"""May a request come in, and is there a place for it: one rule a file."""
