"""Email addresses: confirmation by a mailed token, change after a confirmation, and undo of a change."""
