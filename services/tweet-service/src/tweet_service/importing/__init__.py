"""Imports datasets of tweets, and writes ones that look like them."""
