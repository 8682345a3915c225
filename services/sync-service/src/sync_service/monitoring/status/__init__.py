"""`/v1/status`: lag, counts and latency of every route, without a token."""
