"""Tweets as they happen: one change stream for each process, fanned out to everybody who listens."""
