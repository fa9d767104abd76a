"""Rows of the store to learn from and to ask with: what was known when the question came up.

A row of a request holds what was known when it arrived, and beside it what became of it. Nothing
that ended later enters a feature. The same functions make rows for training and for the live
ledger, so that what was learnt is what is asked.
"""
