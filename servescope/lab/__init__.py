"""The interference laboratory: real programs beside real neighbours, measured once a second.

`victims` do a fixed trace of work in a process of their own (`worker`), `aggressors` disturb them
(`disturb`) after a `shape`; `block` runs one victim alone and beside several aggressors, `labels`
says what it lost, `session` goes on until time is up, `dataset` keeps and hands out the rows.
"""
