"""Autoscaling of a fleet, and the simulator it is tried in: look, decide, guard, act, remember."""
