"""Events that can't be applied: kept in a topic with the reason, listed, tried again, discarded, and kept few."""
