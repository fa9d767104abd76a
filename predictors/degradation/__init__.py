"""How much of its isolated performance an instance gets beside its neighbours.

`model` holds the predictor: a dual-branch transformer (`network`, `training`) averaged with
extremely randomised trees (`forest`), both on channels that queueing suggests (`channels`).
`bodies`, `forest` and `network` hold the rivals too, `windows` the shape of a row, `live` rows from
the store, `cloudperftrace` rows from that public data set, `backtest` the figures.
"""
