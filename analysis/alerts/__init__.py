"""Alerts: what is asked of the fleet, when an answer is an alert, and who is told; all pure."""
