"""Rows, units, signals, the clock, the error tree and the database. Imports nothing of ours."""
