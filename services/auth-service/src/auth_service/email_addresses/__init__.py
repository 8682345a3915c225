"""Email addresses: confirmed by a mailed token, and changed only after that."""
