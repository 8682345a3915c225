"""Email addresses: confirmation by a mailed token, and change after a confirmation."""
