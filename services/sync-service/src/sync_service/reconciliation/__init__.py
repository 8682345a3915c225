"""Compares each copy with its source, and mends it.

`canonical` says in one text, in Python and in SQL, what a row holds; `sources` and `copies` read both sides by ranges
of keys; `comparison` walks the ranges, `settling` tells what lasts from what is on its way, `repair` says how a mended
row is to be versioned. `command` is all that for a terminal, `jobs` for HTTP.
"""
