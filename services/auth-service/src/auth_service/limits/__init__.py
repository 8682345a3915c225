"""Limits on attempts: to log in, to register, to have mail sent. Counted in MySQL, so that replicas share them."""
