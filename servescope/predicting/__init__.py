"""Predictions of the running server: what is said, what came true, and what is done about it.

The ledger predicts finished requests and learns from them; forecasts look ahead at demand and at
the degradation of instances; desks say which model answers for what; retraining keeps them fresh.
"""
