"""The audit trail: every event of security, by the names of OWASP's logging vocabulary."""
