"""Root cause: which signals may have brought about what another signal suffered.

Pure functions over a table of samples: no store, no clock. What comes out is association and
order in time, never proof of a cause.
"""
