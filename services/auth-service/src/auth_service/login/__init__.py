"""Login with a username or email address and a password."""
