"""Home timeline, search, trends and threads."""
