"""Compares each copy with its source, and repairs it.

`sinks.comparison_target` opens both sides of a route, whose rows have a canonical text (`sinks.canonical`). `compare`
walks ranges of keys, `recheck` distinguishes lasting differences from changes that are on their way, `repair` gives
repaired rows their versions. `cli` is the command, `jobs` runs it for HTTP.
"""
