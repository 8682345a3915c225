"""Imports datasets of tweets."""
