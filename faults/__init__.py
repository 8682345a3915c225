"""Fault injection: break a whole system under steady writes, and check that no data is lost.

    python -m faults --faults 200 --seed 7

`docs/faults.md` lists the faults, the checks after each round, and the output of the last full run.
"""
