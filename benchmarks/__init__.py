"""Benchmarks of Tandem against baselines and peers: `python -m benchmarks [PART …]`, or `make bench`.

Absolute numbers of one machine say little about another, so the benchmarks assert nothing and report ratios: both sides
run alternately, in one run, on the same cores and the same database. A part is one module with a
`measure(options) -> Report`; `__main__` lists them.
"""
