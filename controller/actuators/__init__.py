"""What carries a decision out, one target a file."""
