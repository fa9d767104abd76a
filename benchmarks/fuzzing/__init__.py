"""Hostile input for every reader of foreign bytes; `benchmarks/fuzz.py` runs it at length."""
