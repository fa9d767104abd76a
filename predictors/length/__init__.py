"""How many tokens an answer will have: histograms, text statistics, an optional encoder.

Three tiers behind one contract, cheapest first: `histogram` (always on), `text` (hashed words and
a small network), `encoder` (named by the operator). `tiers` decides which of them is asked.
"""
