"""Accounts: registration and profiles."""
