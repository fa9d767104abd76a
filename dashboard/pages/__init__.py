"""One page a file: its charts, and how a view becomes components."""
