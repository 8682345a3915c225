"""Tweets as somebody wants to read them: of the people one follows, as a conversation, by words, by trends."""
