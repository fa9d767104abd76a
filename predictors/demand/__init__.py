"""Demand: requests and tokens a second of a model or tenant, 10 to 60 minutes ahead."""
