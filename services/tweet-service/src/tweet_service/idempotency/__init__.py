"""Idempotency keys: a request that is sent twice takes effect once (draft-ietf-httpapi-idempotency-key-header)."""
