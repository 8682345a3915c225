"""The same request sent twice does its work once (draft-ietf-httpapi-idempotency-key-header)."""
