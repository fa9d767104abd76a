"""Named test doubles of platforms; each speaks what the real one speaks."""
