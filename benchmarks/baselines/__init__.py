"""Baselines: bare routes with the same database queries, and nothing else."""
