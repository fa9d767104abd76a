"""Frames to figures: pure functions that give plain Plotly dictionaries and one sentence in words."""
