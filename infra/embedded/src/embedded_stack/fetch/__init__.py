"""Brings the components onto this machine, into a cache that all stacks share."""
