"""Recorded traffic sent to a real endpoint, in open loop: `servescope load`."""
