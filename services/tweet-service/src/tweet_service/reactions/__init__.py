"""Likes and reposts: each person at most once for each tweet."""
