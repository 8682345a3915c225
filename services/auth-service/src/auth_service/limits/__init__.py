"""Limits on attempts to log in, register or request mails. MySQL has the counts, so that replicas share them."""
