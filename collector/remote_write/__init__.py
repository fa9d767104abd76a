"""Prometheus remote-write: bodies, series, pages of a target, rows."""
