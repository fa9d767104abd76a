"""Comparisons of policies as jobs, how they are kept, and what is learnt from replays."""
