"""Profiles: the copy of the users, and authors of imported tweets."""
