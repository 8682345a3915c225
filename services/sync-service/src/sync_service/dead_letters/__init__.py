"""Dead letters: events that can't be applied.

They are kept in a topic with the reason, listed, retried and discarded.
"""
