"""Cold starts: how long a load takes, when it is ready, when it is warm, whether to pre-warm.

Durations come from what was loaded before on the same instance, what the fleet does, bytes and
bandwidth where they are known, and telemetry. Caches decide by an order of magnitude, so answers
are distributions that may have two humps, not a number with an error bar.
"""
