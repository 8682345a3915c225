"""Measurements of Tandem against peers, each a part: `python -m benchmarks [PART …]`, or `make bench`.

A number of one machine says little about another, so nothing here is asserted and what is reported are ratios: both
sides are measured in one run, in turns, on the same cores and the same database. A part is one module with a
`measure(options) -> Report`; `__main__` lists them.
"""
