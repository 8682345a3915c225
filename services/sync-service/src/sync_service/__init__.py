"""Applies change events to the opposite store."""
