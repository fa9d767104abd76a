"""Autoscaling policies, one a file: ours and those that users run today, each after its source."""
