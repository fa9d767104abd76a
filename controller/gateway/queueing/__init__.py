"""Who is next among those that wait: one line a file."""
