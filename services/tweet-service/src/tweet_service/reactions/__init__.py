"""Likes and reposts. A user likes or reposts a tweet once at most."""
