"""Tweets: posting, reading, editing, deleting and listing them."""
