"""Which replica gets a request: one way a file."""
