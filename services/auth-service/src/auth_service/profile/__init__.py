"""A user's own account: read, change, export and delete it."""
