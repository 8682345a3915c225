"""Accounts and tokens. Each domain is a package, and `main` creates the application from them."""
