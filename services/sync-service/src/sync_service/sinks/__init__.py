"""The stores that changes are written to. Each writes the apply rule in its own language, in one guarded statement."""
