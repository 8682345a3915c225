"""Faults: a whole system under steady writes is broken in every way that a deployment is, and must lose nothing.

    python -m faults --faults 200 --seed 7

`docs/faults.md` tells what is injected, what is checked behind each fault and what the last full run printed.
"""
