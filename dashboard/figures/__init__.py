"""Pure functions from a documented frame to a figure."""
