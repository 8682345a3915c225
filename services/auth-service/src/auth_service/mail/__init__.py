"""Mails: their text, and their delivery to the mail server."""
