"""Predictors: response length, cold start, degradation, demand, latency.

Every answer is a distribution, every predictor stands beside its naive rival and gives way to it
where it loses. `base` is the contract, `serving` the wrapper that all of them answer through.
May import `analysis`, `collector` and `store`; torch and scikit-learn live only here, and only
training loads them where it can be avoided.
"""
