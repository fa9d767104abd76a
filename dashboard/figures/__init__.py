"""Frames to figures: pure functions giving plain Plotly dictionaries and one sentence in words."""
