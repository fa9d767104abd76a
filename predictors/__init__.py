"""Predictors (response length, cold start, degradation, demand, latency). None is built yet."""
