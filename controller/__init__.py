"""Admission and autoscaling of the live fleet. Nothing is built yet; servescope only watches."""
