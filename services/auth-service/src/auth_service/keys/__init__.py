"""Signing keys, stored encrypted in MySQL and published as a JWKS."""
