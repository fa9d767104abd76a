"""Replays as jobs, and what is learnt from them."""
