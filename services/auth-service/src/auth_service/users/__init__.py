"""Accounts: the tables `users` and `credentials`, and the rules that several packages share."""
