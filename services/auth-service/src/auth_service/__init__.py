"""Accounts and tokens. `accounts`, `sessions` and `keys` are the domains; `main` puts them together."""
