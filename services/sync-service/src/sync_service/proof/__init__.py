"""Proves all the time that each copy is equal to its source, range after range, at a slow pace.

`ranges` has the ranges of a route and when each was proven, `store` keeps them in MySQL. `prover` compares the range
whose proof is the oldest, and `summary` tells what is proven.
"""
