"""Starts of instances and faults of cards, put together from what is told about them."""
