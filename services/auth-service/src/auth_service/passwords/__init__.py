"""Passwords: which are accepted, how they are hashed, changed, forgotten and set anew."""
