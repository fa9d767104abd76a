"""Profiles from recorded rows, and how far what they say is from rows that they did not see."""
