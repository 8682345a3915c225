"""Administration of accounts, and the audit trail, for admins and senior managers."""
