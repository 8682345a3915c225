"""Passwords: policy, hashing, change and reset."""
