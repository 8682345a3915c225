"""The audit trail: every security event, named by OWASP's logging vocabulary."""
