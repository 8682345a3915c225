"""Mailed tokens that work once. MySQL stores their hashes."""
