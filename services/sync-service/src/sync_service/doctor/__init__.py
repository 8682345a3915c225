"""`sync-service doctor`: every precondition, with the remedy where it is not met."""
