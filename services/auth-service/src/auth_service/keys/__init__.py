"""Signing keys: kept encrypted in MySQL, published as a JWKS."""
