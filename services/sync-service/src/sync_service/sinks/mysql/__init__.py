"""MySQL: as a source of change events, as a copy, and as a side of a comparison."""
