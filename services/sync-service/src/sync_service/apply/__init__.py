"""Which change wins. Pure: both sinks write the same rule down in their store's own language."""
