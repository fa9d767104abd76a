"""Policies beside each other: one protocol, one tuning budget, and what they came to."""
