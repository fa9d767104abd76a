"""Latency of a request on an instance: time to first token, time per token, end to end.

    state of the instance --> engine model (steps, budget, slots) --> seconds
                                        + boosted residual --> quantiles

`engine` is the physics: what is ahead of the request, how fast steps drain it, when a slot comes
free. `model` fits its few numbers per (model, engine, GPU type) around a shared prior and learns
what physics leaves over. `total` folds TTFT, TPOT and the length distribution into end to end.
`instance` keeps the state of one engine as requests come and go; `replay` makes the same rows out
of finished requests, so that training sees what serving will see.
"""
