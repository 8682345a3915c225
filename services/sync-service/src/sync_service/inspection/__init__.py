"""`sync-service inspect`: change events as they pass."""
